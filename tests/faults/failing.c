/* A library to be preloaded, under which chosen system calls fail.

FAULT="CALLS ERRNO PART [BYTES [SKIPPED [TIMES]]]": each of CALLS, joined by commas, fails with ERRNO where the path has
PART in it. A write fails after BYTES bytes have been written to such paths. Of the calls that would fail, the first
SKIPPED do not, and then TIMES of them do, or all. "openw" is an open for writing. FAULT_LOG names a file that gets a line
for each failure; with ERRNO 0 none fails, and all have their line. Both may change while the process runs.
*/
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char parsed[1024], calls[256], part[256];
static int number;
static long left, skipped, times;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int chosen(const char *call) {
  const char *fault = getenv("FAULT");
  if (!fault || strlen(fault) >= sizeof parsed) return 0;
  if (strcmp(fault, parsed)) {
    strcpy(parsed, fault);
    left = skipped = 0;
    times = -1;
    if (sscanf(fault, "%255s %d %255s %ld %ld %ld", calls, &number, part, &left, &skipped, &times) < 3) calls[0] = 0;
  }
  size_t length = strlen(call);
  for (const char *at = calls; (at = strstr(at, call)); at += length)
    if ((at == calls || at[-1] == ',') && (at[length] == ',' || !at[length])) return 1;
  return 0;
}

static int failed(const char *call, const char *path) {
  if (!chosen(call) || !path || !strstr(path, part)) return 0;
  if (skipped > 0) { skipped--; return 0; }
  if (!times) return 0;
  if (times > 0) times--;
  const char *log = getenv("FAULT_LOG");
  if (log) {
    int (*open_)(const char *, int, ...) = real("open");
    ssize_t (*write_)(int, const void *, size_t) = real("write");
    int file = open_(log, O_WRONLY | O_APPEND | O_CREAT, 0666);
    char line[4400];
    int size = snprintf(line, sizeof line, "%s %s\n", call, path);
    if (file >= 0) { write_(file, line, size); close(file); }
  }
  if (!number) return 0;
  errno = number;
  return 1;
}

static int failed_open(const char *call, int file) {
  if (!chosen(call)) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return failed(call, path);
}

static int failed_write(int file, size_t size) {
  if (!chosen("write")) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  if (!strstr(path, part)) return 0;
  if ((long)size <= left) { left -= size; return 0; }
  return failed("write", path);
}

#define MODE(flags) \
  mode_t mode = 0; \
  if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
#define CALL(type, name, types, names, test) \
  type name types { if (test) return (type)-1; return ((type (*) types)real(#name)) names; }

static int refused(const char *path, int flags) {
  return failed("open", path) || (flags & (O_WRONLY | O_RDWR | O_CREAT) && failed("openw", path));
}
int open(const char *path, int flags, ...) {
  MODE(flags) return refused(path, flags) ? -1 : ((int (*)(const char *, int, mode_t))real("open"))(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE(flags) return refused(path, flags) ? -1 : ((int (*)(const char *, int, mode_t))real("open64"))(path, flags, mode);
}
DIR *opendir(const char *path) {
  return failed("opendir", path) ? NULL : ((DIR * (*)(const char *))real("opendir"))(path);
}
struct dirent *readdir(DIR *folder) {
  return failed_open("readdir", dirfd(folder)) ? NULL : ((struct dirent * (*)(DIR *))real("readdir"))(folder);
}
struct dirent64 *readdir64(DIR *folder) {
  return failed_open("readdir", dirfd(folder)) ? NULL : ((struct dirent64 * (*)(DIR *))real("readdir64"))(folder);
}
CALL(ssize_t, read, (int file, void *data, size_t size), (file, data, size), failed_open("read", file))
CALL(ssize_t, pread, (int file, void *data, size_t size, off_t at), (file, data, size, at), failed_open("read", file))
CALL(ssize_t, pread64, (int file, void *data, size_t size, off64_t at), (file, data, size, at), failed_open("read", file))
CALL(ssize_t, write, (int file, const void *data, size_t size), (file, data, size), failed_write(file, size))
CALL(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), failed_write(file, size))
CALL(ssize_t, writev, (int file, const struct iovec *parts, int count), (file, parts, count), failed_write(file, parts[0].iov_len))
static int is_folder(int file) {
  struct stat found;
  return !fstat(file, &found) && S_ISDIR(found.st_mode);
}
CALL(int, fsync, (int file), (file), failed_open(is_folder(file) ? "fsyncdir" : "fsync", file))
CALL(int, flock, (int file, int kind), (file, kind), failed_open("flock", file))
CALL(int, ftruncate, (int file, off_t size), (file, size), failed_open("ftruncate", file))
CALL(int, ftruncate64, (int file, off64_t size), (file, size), failed_open("ftruncate", file))
CALL(void *, mmap, (void *at, size_t size, int kind, int flags, int file, off_t from), (at, size, kind, flags, file, from), file >= 0 && failed_open("mmap", file))
int posix_fallocate(int file, off_t at, off_t size) {  /* returns the number */
  return failed_open("fallocate", file) ? number : ((int (*)(int, off_t, off_t))real("posix_fallocate"))(file, at, size);
}
int posix_fallocate64(int file, off64_t at, off64_t size) {
  return failed_open("fallocate", file) ? number : ((int (*)(int, off64_t, off64_t))real("posix_fallocate64"))(file, at, size);
}
sem_t *sem_open(const char *name, int flags, ...) {  /* of what lies in /dev/shm */
  mode_t mode = 0;
  unsigned value = 0;
  if (flags & O_CREAT) {
    va_list more;
    va_start(more, flags);
    mode = va_arg(more, mode_t);
    value = va_arg(more, unsigned);
    va_end(more);
  }
  if (failed("sem_open", name)) return SEM_FAILED;
  return ((sem_t * (*)(const char *, int, mode_t, unsigned)) real("sem_open"))(name, flags, mode, value);
}
CALL(int, rename, (const char *from, const char *to), (from, to), failed("rename", to))
CALL(int, link, (const char *from, const char *to), (from, to), failed("link", to))
CALL(int, mkdir, (const char *path, mode_t mode), (path, mode), failed("mkdir", path))
CALL(int, unlink, (const char *path), (path), failed("unlink", path))
CALL(int, stat, (const char *path, struct stat *found), (path, found), failed("stat", path))
CALL(int, stat64, (const char *path, struct stat64 *found), (path, found), failed("stat", path))
CALL(int, lstat64, (const char *path, struct stat64 *found), (path, found), failed("stat", path))
CALL(int, fstatat64, (int at, const char *path, struct stat64 *found, int flags), (at, path, found, flags), failed("stat", path))
