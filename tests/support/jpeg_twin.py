"""A baseline JPEG decoder that is slow and plain: ITU-T T.81 read aloud, with libjpeg-turbo's integers."""

import numpy as np

ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))


class Bits:
    """Entropy-coded bytes bit by bit (F.2.2.5, NEXTBIT); they end at a marker, whose number is `marker`."""

    def __init__(self, data: bytes, at: int) -> None:
        clean = bytearray()
        while data[at] != 0xFF or data[at + 1] == 0:
            clean.append(data[at])
            at += 2 if data[at] == 0xFF else 1
        self.marker, self.end = data[at + 1], at + 2
        self.bits = "".join(f"{byte:08b}" for byte in clean)
        self.at = 0

    def take(self, count: int) -> int:
        """`count` bits as a number."""
        self.at += count
        return int(self.bits[self.at - count : self.at] or "0", 2)

    def symbol(self, table: dict[str, int]) -> int:
        """F.2.2.3, DECODE."""
        for length in range(1, 17):
            code = self.bits[self.at : self.at + length]
            if code in table:
                self.at += length
                return table[code]
        raise ValueError("no such code")

    def value(self, size: int) -> int:
        """F.2.2.1, RECEIVE and EXTEND."""
        bits = self.take(size)
        return bits if size == 0 or bits >> (size - 1) else bits - (1 << size) + 1


def codes(counts: bytes, symbols: bytes) -> dict[str, int]:
    """C.2: the codes of a table, as strings of 0 and 1."""
    table, code, number = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            table[f"{code:0{length}b}"] = symbols[number]
            code, number = code + 1, number + 1
        code <<= 1
    return table


def inverse_dct(rows: np.ndarray, drop: int) -> np.ndarray:
    """One pass of the accurate integer DCT over the first axis: int64 [8, ...], `drop` bits less."""
    constant = {name: round(name * 8192) for name in (0.298631336, 0.390180644, 0.541196100, 0.765366865)}
    constant |= {name: round(name * 8192) for name in (0.899976223, 1.175875602, 1.501321110, 1.847759065)}
    constant |= {name: round(name * 8192) for name in (1.961570560, 2.053119869, 2.562915447, 3.072711026)}
    x0, x1, x2, x3, x4, x5, x6, x7 = rows
    shared = (x2 + x6) * constant[0.541196100]
    low, high = shared - x6 * constant[1.847759065], shared + x2 * constant[0.765366865]
    plus, minus = (x0 + x4) * 8192, (x0 - x4) * 8192
    even = [plus + high, minus + low, minus - low, plus - high]
    z1, z2, z3, z4 = x7 + x1, x5 + x3, x7 + x3, x5 + x1
    z5 = (z3 + z4) * constant[1.175875602]
    z1, z2 = -z1 * constant[0.899976223], -z2 * constant[2.562915447]
    z3, z4 = z5 - z3 * constant[1.961570560], z5 - z4 * constant[0.390180644]
    odd = [
        x1 * constant[1.501321110] + z1 + z4,
        x3 * constant[3.072711026] + z2 + z3,
        x5 * constant[2.053119869] + z2 + z4,
        x7 * constant[0.298631336] + z1 + z3,
    ]
    both = [e + o for e, o in zip(even, odd, strict=True)] + [e - o for e, o in zip(even, odd, strict=True)][::-1]
    return (np.array(both) + (1 << (drop - 1))) >> drop


def doubled(plane: np.ndarray) -> np.ndarray:
    """Smooth upsampling of a chroma plane (int64 [h, w]) to [2 * h, 2 * w]: weights 9, 3, 3 and 1 of 16."""
    edged = np.pad(plane, 1, mode="edge")
    columns = np.stack([3 * edged[1:-1] + edged[:-2], 3 * edged[1:-1] + edged[2:]], 1).reshape(-1, edged.shape[1])
    left, right = 3 * columns[:, 1:-1] + columns[:, :-2] + 8, 3 * columns[:, 1:-1] + columns[:, 2:] + 7
    return np.stack([left >> 4, right >> 4], 2).reshape(len(columns), -1)


def decode(data: bytes) -> np.ndarray:
    """The pixels of a baseline JPEG of three components, 4:2:0 or 4:4:4: uint8 [H, W, 3]."""
    quantisers, tables, interval, at = {}, {}, 0, 2
    while data[at + 1] != 0xDA:
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4])
        at += 4
        if marker == 0xC0:
            height, width = (int.from_bytes(data[at + i : at + i + 2]) for i in (1, 3))
            frame = [data[at + 6 + 3 * i : at + 9 + 3 * i] for i in range(3)]
        elif marker == 0xDD:
            interval = int.from_bytes(data[at : at + 2])
        while marker == 0xDB and at < end:
            quantisers[data[at]] = list(data[at + 1 : at + 65])
            at += 65
        while marker == 0xC4 and at < end:
            symbols = sum(data[at + 1 : at + 17])
            tables[data[at]] = codes(data[at + 1 : at + 17], data[at + 17 : at + 17 + symbols])
            at += 17 + symbols
        at = end
    slots = [data[at + 6 + 2 * i] for i in range(3)]
    bits = Bits(data, at + 2 + int.from_bytes(data[at + 2 : at + 4]))
    factors = [component[1] >> 4 for component in frame]
    side = 8 * factors[0]
    down, across = -(-height // side), -(-width // side)
    planes = [np.zeros((down * 8 * factor, across * 8 * factor), np.int64) for factor in factors]
    dc = [0, 0, 0]
    for mcu in range(down * across):
        if interval and mcu and mcu % interval == 0:
            assert bits.marker == 0xD0 + (mcu // interval - 1) % 8
            bits, dc = Bits(data, bits.end), [0, 0, 0]
        for i, factor in enumerate(factors):
            for block in range(factor * factor):
                dc[i] += bits.value(bits.symbol(tables[slots[i] >> 4]))
                coefficients = np.zeros(64, np.int64)
                coefficients[0], k = dc[i], 1
                while k < 64:
                    symbol = bits.symbol(tables[0x10 | slots[i] & 15])
                    if symbol == 0:
                        break
                    k += symbol >> 4
                    coefficients[ZIGZAG[k]] = bits.value(symbol & 15)
                    k += 1
                weights = np.zeros(64, np.int64)
                weights[ZIGZAG] = quantisers[frame[i][2]]
                first = inverse_dct((coefficients * weights).reshape(8, 8), 11)
                samples = np.clip(inverse_dct(first.T, 18).T + 128, 0, 255)
                y = 8 * (mcu // across * factor + block // factor)
                x = 8 * (mcu % across * factor + block % factor)
                planes[i][y : y + 8, x : x + 8] = samples
    assert bits.marker == 0xD9
    luma, cb, cr = planes
    if factors[0] == 2:
        size = (height + 1) // 2, (width + 1) // 2
        cb, cr = doubled(cb[: size[0], : size[1]]), doubled(cr[: size[0], : size[1]])
    luma, cb, cr = luma[:height, :width], cb[:height, :width] - 128, cr[:height, :width] - 128
    red = luma + ((91881 * cr + 32768) >> 16)
    green = luma + ((-22554 * cb - 46802 * cr + 32768) >> 16)
    blue = luma + ((116130 * cb + 32768) >> 16)
    return np.clip(np.stack([red, green, blue], 2), 0, 255).astype(np.uint8)
