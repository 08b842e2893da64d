// One stem over time: level, mel spectrogram and the probability of each class, on one axis; and where it is playing.

import { clock, colour, ticks } from "./format.js";

const LEVEL = 64;
const MEL = 112;
const STRIP = 24;
const GAP = 8;
const AXIS = 20;
const QUIETEST_DB = -60;

export class Plot {
  constructor(player) {
    this.player = player;
    this.box = document.getElementById("plot");
    [this.still, this.moving] = this.box.querySelectorAll("canvas");
    new ResizeObserver(() => this.draw()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.box.addEventListener("pointerdown", (event) => this.press(event));
    player.addEventListener("tick", () => this.drawMoving());
    player.addEventListener("change", () => this.drawMoving());
  }

  show(stem, classes) {
    if (stem.index !== this.stem?.index) this.spectra = null;
    this.stem = stem;
    this.classes = classes;
    this.seconds = stem.seconds || 1;
    this.box.setAttribute("aria-valuemax", this.seconds.toFixed(1));
    this.draw();
  }

  picture(spectra) {
    this.spectra = spectra;
    this.draw();
  }

  get gutter() {
    return this.box.clientWidth < 560 ? 54 : 76;
  }

  get height() {
    return LEVEL + GAP + MEL + (this.classes?.length ?? 0) * (STRIP + GAP) + AXIS;
  }

  x(seconds) {
    return this.gutter + ((this.box.clientWidth - this.gutter) * seconds) / this.seconds;
  }

  at(event) {
    const left = event.clientX - this.box.getBoundingClientRect().left - this.gutter;
    return Math.max(0, Math.min(1, left / (this.box.clientWidth - this.gutter))) * this.seconds;
  }

  // A click goes there; with shift, or held with the second button of a mouse, dragging sets the loop.
  press(event) {
    if (!this.stem || event.button > 0) return;
    const from = this.at(event);
    const move = (later) => {
      const to = this.at(later);
      if (event.shiftKey) this.onloop?.(Math.min(from, to), Math.max(from, to));
      else this.player.seek(to);
    };
    const stop = () => removeEventListener("pointermove", move);
    if (!event.shiftKey) this.player.seek(from);
    addEventListener("pointermove", move);
    addEventListener("pointerup", stop, { once: true });
  }

  prepare(canvas) {
    const scale = devicePixelRatio || 1;
    const width = this.box.clientWidth;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(this.height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(this.height * scale);
    }
    this.box.style.height = `${this.height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, this.height);
    pen.font = "12px system-ui, sans-serif";
    return pen;
  }

  draw() {
    if (!this.stem || !this.box.clientWidth) return;
    const pen = this.prepare(this.still);
    const bottom = this.height - AXIS;
    const at = ticks(this.seconds, this.box.clientWidth < 560 ? 4 : 8);
    pen.strokeStyle = colour("--rule");
    pen.fillStyle = colour("--muted");
    for (const seconds of at) {
      const x = Math.round(this.x(seconds)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, bottom);
      pen.stroke();
      pen.textAlign = seconds === 0 ? "left" : x > this.box.clientWidth - 20 ? "right" : "center";
      pen.fillText(clock(seconds, this.seconds < 10 ? 1 : 0), x, bottom + 15);
    }
    pen.textAlign = "left";
    this.name(pen, "level", LEVEL / 2);
    this.name(pen, "mel", LEVEL + GAP + MEL / 2);
    if (this.spectra) {
      this.drawLevel(pen);
      this.drawMel(pen);
    }
    this.classes.forEach((name, i) => this.drawStrip(pen, name, i, LEVEL + GAP + MEL + i * (STRIP + GAP) + GAP));
    this.drawMoving();
  }

  name(pen, text, y) {
    pen.fillStyle = colour("--muted");
    pen.fillText(text, 0, y + 4);
  }

  // Like a waveform: the loudest frame of every column pale, the mean strong, both to either side.
  drawLevel(pen) {
    const { peak, mean, columns } = this.spectra;
    for (const [values, shade] of [[peak, "--level-pale"], [mean, "--level"]]) {
      pen.fillStyle = colour(shade);
      pen.beginPath();
      const half = (db) => Math.max(0.5, (Math.max(0, 1 - db / QUIETEST_DB) * LEVEL) / 2);
      const x = (i) => this.x(((i + 0.5) * this.seconds) / columns);
      values.forEach((db, i) => pen.lineTo(x(i), LEVEL / 2 - half(db)));
      for (let i = columns - 1; i >= 0; i--) pen.lineTo(x(i), LEVEL / 2 + half(values[i]));
      pen.fill();
    }
  }

  drawMel(pen) {
    const { columns, bands, mel } = this.spectra;
    const bytes = Uint8Array.from(atob(mel), (char) => char.charCodeAt(0));
    const image = new ImageData(columns, bands);
    const shades = ramp(["--mel-0", "--mel-1", "--mel-2", "--mel-3"].map(colour));
    for (let column = 0; column < columns; column++) {
      for (let band = 0; band < bands; band++) {
        image.data.set(shades[bytes[column * bands + band]], 4 * ((bands - 1 - band) * columns + column));
      }
    }
    const small = new OffscreenCanvas(columns, bands);
    small.getContext("2d").putImageData(image, 0, 0);
    pen.drawImage(small, this.x(0), LEVEL + GAP, this.x(this.seconds) - this.x(0), MEL);
  }

  drawStrip(pen, name, i, top) {
    const base = top + STRIP;
    const { start_s: start, end_s: end, scores } = this.stem;
    pen.fillStyle = colour("--ink");
    pen.fillText(this.gutter < 60 && name.length > 7 ? `${name.slice(0, 6)}…` : name, 0, base - STRIP / 2 + 4);
    pen.fillStyle = colour("--faint");
    pen.fillRect(this.x(0), top, this.x(this.seconds) - this.x(0), STRIP);
    const values = scores[name] ?? [];
    if (values.length) {
      pen.fillStyle = colour(`--c${i % 8}`);
      pen.beginPath();
      pen.moveTo(this.x(start[0]), base);
      pen.lineTo(this.x(start[0]), base - values[0] * STRIP);
      values.forEach((value, k) => pen.lineTo(this.x((start[k] + end[k]) / 2), base - value * STRIP));
      pen.lineTo(this.x(end.at(-1)), base - values.at(-1) * STRIP);
      pen.lineTo(this.x(end.at(-1)), base);
      pen.fill();
    }
    pen.setLineDash([3, 3]);
    pen.strokeStyle = colour("--half");
    pen.beginPath();
    pen.moveTo(this.x(0), top + STRIP / 2 + 0.5);
    pen.lineTo(this.x(this.seconds), top + STRIP / 2 + 0.5);
    pen.stroke();
    pen.setLineDash([]);
    // What a person said about a time is a bar under its strip.
    pen.fillStyle = colour("--accent");
    for (const [from, to, labels] of this.stem.ranges) {
      if (labels.split("+").includes(name)) pen.fillRect(this.x(from), base + 1, this.x(to) - this.x(from), 3);
    }
  }

  drawMoving() {
    if (!this.stem || !this.box.clientWidth) return;
    const pen = this.prepare(this.moving);
    const bottom = this.height - AXIS;
    const loop = this.player.loop;
    if (loop) {
      const [left, right] = loop.map((seconds) => Math.round(this.x(seconds)));
      pen.fillStyle = colour("--loop");
      pen.globalAlpha = this.player.looping ? 0.16 : 0.07;
      pen.fillRect(left, 0, right - left, bottom);
      pen.globalAlpha = 1;
      pen.fillRect(left, 0, 1.5, bottom);
      pen.fillRect(right - 1.5, 0, 1.5, bottom);
    }
    pen.fillStyle = colour("--head");
    pen.fillRect(this.x(this.player.time) - 1, 0, 2, bottom);
    this.box.setAttribute("aria-valuenow", this.player.time.toFixed(1));
    this.box.setAttribute("aria-valuetext", `${this.player.time.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
  }
}

// 256 colours between the given ones, as [r, g, b, a].
function ramp(colours) {
  const stops = colours.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  return Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1);
    const low = Math.min(stops.length - 2, Math.floor(place));
    return [...stops[low].map((value, k) => value + (place - low) * (stops[low + 1][k] - value)), 255];
  });
}
