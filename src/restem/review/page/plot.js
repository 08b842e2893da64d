// One stem over time: level, mel spectrogram and the probability of each class, on one axis; and where it is playing.

import { classColour, clock, colour, ticks } from "./format.js";
import { View } from "./view.js";

const AXIS = 20;
const QUIETEST_DB = -60;
const SETTLED_MS = 150; // without a change until a finer picture is asked for

export class Plot {
  constructor(player) {
    this.player = player;
    this.box = document.getElementById("plot");
    this.bar = document.getElementById("scroll");
    [this.still, this.moving] = this.box.querySelectorAll("canvas");
    this.view = new View(this.box, (x) => this.at(x), () => this.width);
    this.view.addEventListener("change", () => this.viewChanged());
    this.bar.addEventListener("input", () => this.view.scroll(Number(this.bar.value) - this.view.from));
    new ResizeObserver(() => this.draw()).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    this.box.addEventListener("pointerdown", (event) => this.press(event));
    player.addEventListener("tick", () => {
      this.view.follow(player.time);
      this.drawMoving();
    });
    player.addEventListener("change", () => this.drawMoving());
  }

  // Many classes get lower strips, so that they and the buttons below fit on a screen.
  get sizes() {
    const classes = this.classes?.length ?? 0;
    if (classes <= 5) return { level: 64, mel: 112, strip: 24, gap: 8 };
    return classes <= 9 ? { level: 44, mel: 76, strip: 16, gap: 4 } : { level: 40, mel: 60, strip: 11, gap: 3 };
  }

  show(stem, classes) {
    const other = stem.index !== this.stem?.index;
    this.stem = stem;
    this.classes = classes;
    this.seconds = stem.seconds || 1;
    this.box.setAttribute("aria-valuemax", this.seconds.toFixed(1));
    if (other) {
      this.spectra = this.closer = null;
      this.view.reset(this.seconds);
    } else this.draw();
  }

  // Of the whole stem, or of the part that is shown.
  picture(spectra) {
    if (spectra.start_s > 0 || spectra.end_s < this.seconds - 0.1) this.closer = spectra;
    else {
      this.spectra = spectra;
      this.askCloser();
    }
    this.draw();
  }

  viewChanged() {
    if (!this.stem) return;
    const { view, bar } = this;
    bar.max = view.seconds - view.length;
    bar.step = view.length / 100;
    bar.value = view.from;
    bar.disabled = !view.zoomed;
    bar.setAttribute("aria-valuetext", `${clock(view.from, 1)} to ${clock(view.to, 1)}`);
    this.askCloser();
    this.draw();
  }

  // Asks for a finer picture once the view has come to rest, unless there is one.
  askCloser() {
    clearTimeout(this.settling);
    const { from, to, length, zoomed } = this.view;
    const has = this.closer && this.closer.start_s <= from && this.closer.end_s >= to && this.closer.end_s - this.closer.start_s < 2 * length;
    if (zoomed && this.spectra && !has) this.settling = setTimeout(() => this.oncloser?.(from, to), SETTLED_MS);
  }

  get gutter() {
    const longest = Math.max(0, ...(this.classes ?? []).map((name) => name.length));
    return this.box.clientWidth < 560 ? Math.min(104, Math.max(54, 6.5 * longest + 8)) : Math.min(160, Math.max(76, 7 * longest + 12));
  }

  get width() {
    return this.box.clientWidth - this.gutter;
  }

  get height() {
    const { level, mel, strip, gap } = this.sizes;
    return level + gap + mel + (this.classes?.length ?? 0) * (strip + gap) + AXIS;
  }

  x(seconds) {
    return this.gutter + (this.width * (seconds - this.view.from)) / this.view.length;
  }

  // The seconds at a horizontal position on the screen.
  at(x) {
    const left = x - this.box.getBoundingClientRect().left - this.gutter;
    return this.view.from + Math.max(0, Math.min(1, left / this.width)) * this.view.length;
  }

  // A click goes there; with shift, or held with the second button of a mouse, dragging sets the loop.
  press(event) {
    if (!this.stem || event.button > 0) return;
    const from = this.at(event.clientX);
    const move = (later) => {
      if (this.view.pinching) return;
      const to = this.at(later.clientX);
      if (event.shiftKey) this.onloop?.(Math.min(from, to), Math.max(from, to));
      else this.player.seek(to);
    };
    const stop = () => removeEventListener("pointermove", move);
    if (!event.shiftKey && !this.view.pinching) this.player.seek(from);
    addEventListener("pointermove", move);
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, stop, { once: true });
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
    const { from, to, length } = this.view;
    const at = ticks(length, this.box.clientWidth < 560 ? 4 : 8, from);
    pen.strokeStyle = colour("--rule");
    pen.fillStyle = colour("--muted");
    for (const seconds of at) {
      const x = Math.round(this.x(seconds)) + 0.5;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, bottom);
      pen.stroke();
      pen.textAlign = x < this.gutter + 20 ? "left" : x > this.box.clientWidth - 20 ? "right" : "center";
      pen.fillText(clock(seconds, length < 10 ? 1 : 0), x, bottom + 15);
    }
    pen.textAlign = "left";
    const { level, mel, strip, gap } = this.sizes;
    this.name(pen, "level", level / 2);
    this.name(pen, "mel", level + gap + mel / 2);
    this.inside(pen, () => {
      const pictures = [this.spectra, this.closer].filter((one) => one && one.start_s < to && one.end_s > from);
      // The finer picture covers the coarser one.
      for (const picture of pictures) {
        const [left, right] = [picture.start_s, picture.end_s].map((seconds) => this.x(seconds));
        if (picture === this.closer) pen.clearRect(left, 0, right - left, level);
        this.drawLevel(pen, picture);
        this.drawMel(pen, picture, left, right);
      }
    });
    this.classes.forEach((name, i) => this.drawStrip(pen, name, i, level + gap + mel + i * (strip + gap) + gap));
    this.drawMoving();
  }

  // Draws nothing left of the axis.
  inside(pen, draw) {
    pen.save();
    pen.beginPath();
    pen.rect(this.gutter, 0, this.width, this.height);
    pen.clip();
    draw();
    pen.restore();
  }

  name(pen, text, y) {
    pen.fillStyle = colour("--muted");
    pen.fillText(text, 0, y + 4);
  }

  // Like a waveform: the loudest frame of every column pale, the mean strong, both to either side.
  drawLevel(pen, picture) {
    const { peak, mean, columns, start_s: start, end_s: end } = picture;
    const { level } = this.sizes;
    for (const [values, shade] of [[peak, "--level-pale"], [mean, "--level"]]) {
      pen.fillStyle = colour(shade);
      pen.beginPath();
      const half = (db) => Math.max(0.5, (Math.max(0, 1 - db / QUIETEST_DB) * level) / 2);
      const x = (i) => this.x(start + ((i + 0.5) * (end - start)) / columns);
      values.forEach((db, i) => pen.lineTo(x(i), level / 2 - half(db)));
      for (let i = columns - 1; i >= 0; i--) pen.lineTo(x(i), level / 2 + half(values[i]));
      pen.fill();
    }
  }

  drawMel(pen, picture, left, right) {
    const { columns, bands, mel } = picture;
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
    pen.drawImage(small, left, this.sizes.level + this.sizes.gap, right - left, this.sizes.mel);
  }

  drawStrip(pen, name, i, top) {
    const { strip } = this.sizes;
    const base = top + strip;
    const { start_s: start, end_s: end, scores } = this.stem;
    pen.fillStyle = colour("--ink");
    pen.fillText(shortened(pen, name, this.gutter - 6), 0, base - strip / 2 + 4);
    pen.fillStyle = colour("--faint");
    pen.fillRect(this.gutter, top, this.width, strip);
    this.inside(pen, () => {
      const values = scores[name] ?? [];
      if (values.length) {
        pen.fillStyle = classColour(i);
        pen.beginPath();
        pen.moveTo(this.x(start[0]), base);
        pen.lineTo(this.x(start[0]), base - values[0] * strip);
        values.forEach((value, k) => pen.lineTo(this.x((start[k] + end[k]) / 2), base - value * strip));
        pen.lineTo(this.x(end.at(-1)), base - values.at(-1) * strip);
        pen.lineTo(this.x(end.at(-1)), base);
        pen.fill();
      }
      // What a person said about a time is a bar under its strip.
      pen.fillStyle = colour("--accent");
      for (const [from, to, labels] of this.stem.ranges) {
        if (labels.split("+").includes(name)) pen.fillRect(this.x(from), base + 1, this.x(to) - this.x(from), 3);
      }
    });
    pen.setLineDash([3, 3]);
    pen.strokeStyle = colour("--half");
    pen.beginPath();
    pen.moveTo(this.gutter, top + strip / 2 + 0.5);
    pen.lineTo(this.gutter + this.width, top + strip / 2 + 0.5);
    pen.stroke();
    pen.setLineDash([]);
  }

  drawMoving() {
    if (!this.stem || !this.box.clientWidth) return;
    const pen = this.prepare(this.moving);
    const bottom = this.height - AXIS;
    const loop = this.player.loop;
    this.inside(pen, () => {
      if (!loop) return;
      const [left, right] = loop.map((seconds) => Math.round(this.x(seconds)));
      pen.fillStyle = colour("--loop");
      pen.globalAlpha = this.player.looping ? 0.16 : 0.07;
      pen.fillRect(left, 0, right - left, bottom);
      pen.globalAlpha = 1;
      pen.fillRect(left, 0, 1.5, bottom);
      pen.fillRect(right - 1.5, 0, 1.5, bottom);
    });
    const head = this.x(this.player.time);
    pen.fillStyle = colour("--head");
    if (head > this.gutter - 1) pen.fillRect(head - 1, 0, 2, bottom);
    this.box.setAttribute("aria-valuenow", this.player.time.toFixed(1));
    this.box.setAttribute("aria-valuetext", `${this.player.time.toFixed(1)} of ${this.seconds.toFixed(1)} seconds`);
  }
}

// As much of a name as fits.
function shortened(pen, name, width) {
  let shown = name;
  while (shown.length > 1 && pen.measureText(shown).width > width) shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
  return shown;
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
