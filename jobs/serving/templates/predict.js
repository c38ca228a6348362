// The page of `imagefeed predict --serve`: sends the image that was dropped or chosen, shows the answer.
"use strict";
const at = (id) => document.getElementById(id);
const mostBytes = Number(document.body.dataset.mostBytes);
let asked = 0; // only the newest question's answer is shown

const element = (name, text, kind) => {
  const made = document.createElement(name);
  if (text) made.textContent = text; // never markup, whatever classes are called
  if (kind) made.className = kind;
  return made;
};

const say = (text, error) => {
  at("notice").textContent = text;
  at("notice").hidden = !text;
  at("notice").classList.toggle("error", Boolean(error));
};

const bar = (guess) => {
  const line = element("li"), filled = element("i", "", "bar");
  filled.style.width = `${100 * guess.probability}%`;
  line.append(filled, element("span", guess.words || guess.wnid), element("b", `${(100 * guess.probability).toFixed(1)} %`));
  return line;
};

const neighbour = (near) => {
  const figure = element("figure");
  if (near.picture) {
    const image = element("img");
    image.src = near.picture;
    image.alt = near.key;
    figure.append(image);
  }
  figure.append(element("figcaption", `${near.words}, ${near.distance.toFixed(2)}`));
  return figure;
};

const show = (name, answer) => {
  at("seen").src = answer.seen;
  at("seen").alt = name;
  at("top").replaceChildren(...answer.top.map(bar));
  at("response").src = answer.response;
  at("response").alt = `The ${answer.num_maps} maps of the first layer`;
  at("maps").textContent = `The answers of the ${answer.num_maps} kernels of conv1 to the central crop, after ReLU; each map from black, its 0, to white, its greatest.`;
  if (at("near")) at("near").replaceChildren(...answer.neighbours.map(neighbour));
  at("result").hidden = false;
};

const ask = async (file) => {
  const mine = ++asked;
  at("result").classList.add("stale");
  if (file.size > mostBytes) return say(`${file.name}: the file is larger than ${mostBytes / 1e6} MB: give a smaller picture`, true);
  say(`${file.name} …`);
  try {
    const response = await fetch("/predict", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });
    const answer = await response.json();
    if (mine !== asked) return;
    if (!response.ok) return say(`${file.name}: ${answer.error}`, true);
    show(file.name, answer);
    at("result").classList.remove("stale");
    say(file.name);
  } catch {
    if (mine === asked) say("the server does not answer: was it ended?", true);
  }
};

at("file").addEventListener("change", (event) => { if (event.target.files.length) ask(event.target.files[0]); });
for (const kind of ["dragover", "drop", "dragleave"])
  window.addEventListener(kind, (event) => {
    event.preventDefault(); // or the browser would leave the page for the image
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) ask(event.dataTransfer.files[0]);
  });
window.addEventListener("paste", (event) => { if (event.clipboardData.files.length) ask(event.clipboardData.files[0]); });
