// The page of `stgcma serve`: choose or record a video, submit it, poll the job, show the results.
"use strict";

const POLL_MILLISECONDS = 400;
const MOST_POLL_FAILURES = 20;
const NOTHING = "Nothing is predicted yet.";
const settings = JSON.parse(document.body.dataset.settings);
const one = (id) => document.getElementById(id);

let chosen = null; // { file } or { example }, with `name`
let recorder = null;
let upload = null; // the XMLHttpRequest
let uploaded = false; // all of it; the id of the job follows
let unwanted = false; // cancelled before the id of the job was known
let job = null; // the id of the last job
let running = false;

// ---- elements

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

function showError(text) {
  const error = one("error");
  error.textContent = text;
  error.hidden = !text;
}

// For screen readers. What changes several times a second is not announced.
function announce(text) {
  if (one("status").textContent !== text) one("status").textContent = text;
}

// ---- the video

function choose(video, url) {
  const player = one("player");
  if (recorder) {
    recorder.unwanted = true;
    recorder.stop();
  }
  if (player.src.startsWith("blob:")) URL.revokeObjectURL(player.src);
  chosen = video;
  showError("");
  player.replaceChildren();
  player.srcObject = null;
  player.muted = false;
  one("unplayable").hidden = true;
  player.hidden = false;
  player.src = url;
  one("preview").hidden = false;
  one("chosen").textContent = video.name;
  for (const button of document.querySelectorAll("[data-example]")) {
    button.setAttribute("aria-pressed", String(button.dataset.example === video.example));
  }
}

// Returns false for a file that cannot be used; the earlier choice stays.
function chooseFile(file) {
  if (!file) return false;
  if (file.size > settings.largest) {
    one("file").value = "";
    showError(`${file.name} is larger than the ${settings.largestText} allowed. Choose a smaller file.`);
  } else if (file.size === 0) {
    one("file").value = "";
    showError(`${file.name} is empty.`);
  } else {
    choose({ file, name: file.name }, URL.createObjectURL(file));
    announce(`Chosen: ${file.name}`);
    return true;
  }
  return false;
}

one("player").addEventListener("error", () => {
  if (!one("player").getAttribute("src")) return;
  one("player").hidden = true;
  one("unplayable").hidden = false;
});

one("file").addEventListener("change", () => chooseFile(one("file").files[0]));

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", () => {
    const { example, question } = button.dataset;
    one("file").value = "";
    choose({ example, name: button.textContent }, `examples/${example}`);
    if (question && one("question")) one("question").value = question;
    announce(`Chosen: ${button.textContent}`);
  });
}

const drop = one("drop");
let entered = 0;
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(name, (event) => event.preventDefault());
}
drop.addEventListener("dragenter", () => { entered += 1; drop.classList.add("over"); });
drop.addEventListener("dragleave", () => {
  entered -= 1;
  drop.classList.toggle("over", entered > 0);
});
drop.addEventListener("drop", (event) => {
  entered = 0;
  drop.classList.remove("over");
  one("file").value = "";
  chooseFile(event.dataTransfer.files[0]);
});

// ---- recording

async function startRecording() {
  const button = one("record");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 }, audio: true });
  } catch (error) {
    showError(`The browser gives no access to a camera and a microphone (${error.name}). Allow it, or choose a file.`);
    return;
  }
  showError("");
  const parts = [];
  const recording = new MediaRecorder(stream);
  recorder = recording;
  one("predict").disabled = true;
  const type = recorder.mimeType.split(";")[0] || "video/webm";
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const began = Date.now();
  const tick = setInterval(() => {
    const seconds = Math.floor((Date.now() - began) / 1000);
    button.textContent = `Stop recording (${seconds} s)`;
    if (seconds >= settings.recordSeconds) stopRecording();
  }, 250);
  recorder.addEventListener("stop", () => {
    clearInterval(tick);
    stream.getTracks().forEach((track) => track.stop());
    recorder = null;
    one("predict").disabled = false;
    button.textContent = "Record a video";
    if (recording.unwanted) return;
    const name = type === "video/mp4" ? "recording.mp4" : "recording.webm";
    one("file").value = "";
    if (!chooseFile(new File(parts, name, { type }))) one("preview").hidden = true;
  });
  const player = one("player");
  chosen = null;
  player.removeAttribute("src");
  player.replaceChildren();
  player.hidden = false;
  one("unplayable").hidden = true;
  player.muted = true;
  player.srcObject = stream;
  player.play().catch(() => {});
  one("preview").hidden = false;
  one("chosen").textContent = "Recording …";
  button.textContent = "Stop recording (0 s)";
  announce(`Recording, at most ${settings.recordSeconds} seconds`);
  recorder.start();
}

function stopRecording() {
  if (recorder && recorder.state === "recording") recorder.stop();
}

if (navigator.mediaDevices && window.MediaRecorder) {
  one("record").addEventListener("click", () => (recorder ? stopRecording() : startRecording()));
} else {
  one("record").disabled = true;
  one("record").textContent = "Recording needs HTTPS or this machine's own address";
}

// ---- runs and the question

function chosenRuns() {
  return [...document.querySelectorAll("input[name=run]:checked")];
}

function showQuestion() {
  const asking = one("asking");
  if (asking) asking.hidden = !chosenRuns().some((run) => "asks" in run.dataset);
}

for (const run of document.querySelectorAll("input[name=run]")) run.addEventListener("change", showQuestion);
showQuestion();

// ---- the job

function setRunning(on) {
  running = on;
  one("predict").disabled = on;
  one("cancel").hidden = !on;
  one("cancel").disabled = false;
  one("working").hidden = !on;
}

function showStep(text, share) {
  one("step").textContent = text;
  if (share === null || share === undefined) one("progress").removeAttribute("value");
  else one("progress").value = share;
}

function deleteJob() {
  if (job) fetch(`api/jobs/${job}`, { method: "DELETE", keepalive: true }).catch(() => {});
  job = null;
}

function send() {
  const query = new URLSearchParams();
  for (const run of chosenRuns()) query.append("run", run.value);
  if (one("question")) query.set("question", one("question").value);
  if (chosen.example !== undefined) query.set("example", chosen.example);
  else query.set("name", chosen.name);
  return new Promise((resolve, reject) => {
    upload = new XMLHttpRequest();
    upload.open("POST", `api/jobs?${query}`);
    upload.responseType = "json";
    upload.setRequestHeader("Content-Type", "application/octet-stream");
    uploaded = !chosen.file; // of an example, the request is all
    unwanted = false;
    upload.upload.addEventListener("load", () => { uploaded = true; });
    upload.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) showStep(`Uploading, ${Math.round((100 * event.loaded) / event.total)} %`, event.loaded / event.total);
    });
    upload.addEventListener("load", () => {
      if (upload.status === 201) resolve(upload.response);
      else reject(new Error((upload.response && upload.response.detail) || `The server answered ${upload.status}.`));
    });
    upload.addEventListener("error", () => reject(new Error("The server does not answer. Is it still running?")));
    upload.addEventListener("abort", () => resolve(null));
    upload.send(chosen.file || null);
  });
}

async function follow(state) {
  let failures = 0;
  for (;;) {
    showOutcomes(state);
    if (state.state === "waiting") {
      const videos = state.ahead === 1 ? "1 video is" : `${state.ahead} videos are`;
      const text = state.ahead ? `Waiting: ${videos} before yours.` : "Waiting.";
      showStep(text, null);
      announce(text);
    } else if (state.state === "running") {
      const percent = state.progress === null ? "" : ` ${Math.round(100 * state.progress)} %`;
      const note = state.note;
      showStep(`${note[0].toUpperCase()}${note.slice(1)}${percent && ","}${percent}`, state.progress);
      announce("Predicting");
    } else {
      return state;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    try {
      const answer = await fetch(`api/jobs/${state.id}`);
      const content = await answer.json();
      if (!answer.ok) throw Object.assign(new Error(content.detail), { final: true });
      state = content;
      failures = 0;
    } catch (error) {
      failures += 1;
      if (error.final) throw error;
      if (failures > MOST_POLL_FAILURES) throw new Error("The server does not answer. Is it still running?");
    }
  }
}

async function predict() {
  if (running || recorder) return;
  if (!chosen) {
    showError("Choose a video first.");
    one("file").focus();
    return;
  }
  if (!chosenRuns().length) {
    showError("Choose at least one run.");
    document.querySelector("input[name=run]").focus();
    return;
  }
  showError("");
  deleteJob();
  clearOutcomes();
  setRunning(true);
  one("empty").textContent = "The result will appear here.";
  showStep("Uploading", null);
  announce("Uploading");
  const video = chosen;
  try {
    const accepted = await send();
    if (accepted === null) return finish("Cancelled.", null);
    job = accepted.id;
    if (unwanted) {
      deleteJob();
      return finish("Cancelled.", null);
    }
    const state = await follow(accepted);
    if (state.state === "cancelled") return finish("Cancelled.", null);
    const said = state.outcomes.map((outcome) => `${outcome.run}: ${outcome.failure ? failureText(outcome) : outcome.headline}`);
    const begin = state.outcomes.every((outcome) => outcome.failure) ? "No result." : "Done.";
    if (chosen === video) addSubtitles(state);
    finish(`${begin} ${said.join(". ")}`, one("results"));
  } catch (error) {
    finish("", null);
    one("empty").textContent = NOTHING;
    showError(error.message);
  }
}

function finish(text, target) {
  const focused = [one("predict"), one("cancel"), document.body].includes(document.activeElement);
  setRunning(false);
  upload = null;
  announce(text);
  if (text === "Cancelled.") {
    job = null;
    clearOutcomes();
    one("empty").textContent = "Cancelled.";
  }
  if (focused) (target || one("predict")).focus();
}

one("form").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});

one("cancel").addEventListener("click", () => {
  one("cancel").disabled = true;
  showStep("Cancelling", null);
  if (job) fetch(`api/jobs/${job}`, { method: "DELETE" }).catch(() => {});
  else if (uploaded) unwanted = true; // the job may exist already, and is deleted by its id
  else if (upload) upload.abort();
});

window.addEventListener("pagehide", deleteJob);

// ---- results

function clearOutcomes() {
  one("outcomes").replaceChildren();
  one("empty").hidden = false;
  one("empty").textContent = NOTHING;
  one("player").replaceChildren();
}

function showOutcomes(state) {
  const shown = one("outcomes");
  for (const outcome of state.outcomes.slice(shown.children.length)) {
    one("empty").hidden = true;
    shown.append(article(outcome, shown.children.length));
  }
}

function failureText(outcome) {
  const reason = outcome.fault === "video" ? "This video cannot be used" : "The server could not predict it";
  return `${reason}: ${outcome.failure}`;
}

function article(outcome, number) {
  const id = `result-${number}`;
  const title = element("h3", { id }, outcome.run);
  const made = element("article", { className: "result", "aria-labelledby": id }, title);
  made.append(element("p", { className: "soft small" }, `${outcome.task}, preset ${outcome.preset}`));
  if (outcome.failure) {
    made.append(element("p", { className: "note" }, failureText(outcome)));
    return made;
  }
  made.append(element("p", { className: "headline" }, outcome.headline));
  if (outcome.warnings.length) {
    made.append(element("ul", { className: "note" }, ...outcome.warnings.map((line) => element("li", {}, line))));
  }
  for (const file of outcome.files) made.append(...figure(file, outcome));
  made.append(table(outcome));
  made.append(element("p", {}, element("a", { href: outcome.archive, download: "" }, "All result files (ZIP)")));
  return made;
}

function figure(file, outcome) {
  const caption = element("figcaption", {}, file.title);
  if (file.kind === "picture") {
    const alt = `${file.title}. ${outcome.headline}. The table below has the details.`;
    const image = element("img", { src: file.url, alt });
    image.addEventListener("load", () => image.style.setProperty("--natural", `${image.naturalWidth}px`));
    const link = element("a", { href: file.url, target: "_blank", rel: "noopener" }, image);
    caption.append(element("span", { className: "narrow" }, ". Scroll it sideways, or open it by touching it."));
    return [element("figure", {}, element("div", { className: "picture" }, link), caption)];
  }
  if (file.kind === "video") {
    const video = element("video", { src: file.url, controls: true, playsInline: true, preload: "metadata", "aria-label": file.title });
    return [element("figure", {}, video, caption)];
  }
  return [];
}

function table(outcome) {
  const head = element("tr", {}, ...outcome.header.map((name) => element("th", { scope: "col", className: "text" }, name)));
  const rows = outcome.rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", { className: "text" }, cell.replaceAll(" %", "\u00a0%")))));
  const made = element("table", { className: "numbers" }, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Table of ${outcome.run}` }, made);
}

function addSubtitles(state) {
  for (const outcome of state.outcomes) {
    for (const file of outcome.files || []) {
      if (file.kind !== "subtitles") continue;
      const track = element("track", { kind: "captions", src: file.url, label: `${outcome.run}: ${file.title}`, srclang: "en" });
      track.default = one("player").children.length === 0;
      one("player").append(track);
    }
  }
}
