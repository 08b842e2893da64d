// The part of a stem that the plot shows: zoomed and scrolled by wheel, by two fingers, by the bar below, and by keys.

const CLOSEST_S = 0.5; // the shortest part
const STEP = 1.6; // of a key or a button
const WHEEL = 0.0025; // how much one pixel of a wheel zooms
const LINE_PX = 32; // of a wheel that counts in lines

export class View extends EventTarget {
  // box: the element that is zoomed. at: the seconds under a horizontal position on the screen. width: of the picture.
  constructor(box, at, width) {
    super();
    this.at = at;
    this.width = width;
    this.fingers = new Map();
    this.reset(1);
    box.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    box.addEventListener("pointerdown", (event) => event.pointerType === "touch" && this.fingers.set(event.pointerId, event.clientX));
    addEventListener("pointermove", (event) => this.pinch(event));
    for (const name of ["pointerup", "pointercancel"]) addEventListener(name, (event) => this.fingers.delete(event.pointerId));
  }

  get length() {
    return this.to - this.from;
  }

  get zoomed() {
    return this.length < this.seconds - 1e-6;
  }

  get pinching() {
    return this.fingers.size > 1;
  }

  reset(seconds) {
    this.seconds = seconds;
    this.show(0, seconds);
  }

  // A length that is too short or too long is made to fit, a part beyond an end is moved.
  show(from, to) {
    const length = Math.min(this.seconds, Math.max(CLOSEST_S, to - from));
    this.from = Math.min(Math.max(0, from), this.seconds - length);
    this.to = this.from + length;
    this.seen = false; // the position, by now
    this.dispatchEvent(new Event("change"));
  }

  // by: how many times as close. at_s: what stays where it is.
  zoom(by, at_s) {
    const length = Math.min(this.seconds, Math.max(CLOSEST_S, this.length / by));
    const share = (at_s - this.from) / this.length;
    this.show(at_s - share * length, at_s + (1 - share) * length);
  }

  // Around a time if it can be seen, else around the middle.
  step(inwards, around_s) {
    const seen = around_s >= this.from && around_s <= this.to;
    this.zoom(inwards ? STEP : 1 / STEP, seen ? around_s : (this.from + this.to) / 2);
  }

  scroll(by_s) {
    this.show(this.from + by_s, this.to + by_s);
  }

  // Turns the page when the position leaves it; who has scrolled away from the position stays there.
  follow(time) {
    const seen = time >= this.from && time <= this.to;
    if (this.seen && !seen) this.show(time - 0.05 * this.length, time + 0.95 * this.length);
    else this.seen = seen;
  }

  // With ctrl (which is also what a pinch on a trackpad sends) it zooms, sideways or with shift it scrolls; else the page scrolls.
  wheel(event) {
    const pixels = event.deltaMode === 1 ? LINE_PX : 1;
    const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
    if (event.ctrlKey || event.metaKey) this.zoom(Math.exp(-event.deltaY * pixels * WHEEL), this.at(event.clientX));
    else if (this.zoomed && Math.abs(sideways) > (event.shiftKey ? 0 : Math.abs(event.deltaY))) this.scroll((sideways * pixels * this.length) / this.width());
    else return;
    event.preventDefault();
  }

  pinch(event) {
    if (!this.fingers.has(event.pointerId)) return;
    const before = [...this.fingers.values()];
    this.fingers.set(event.pointerId, event.clientX);
    if (before.length !== 2) return;
    const after = [...this.fingers.values()];
    const middle = this.at((before[0] + before[1]) / 2);
    const apart = (places) => Math.max(10, Math.abs(places[0] - places[1]));
    this.zoom(apart(after) / apart(before), middle);
    this.scroll(middle - this.at((after[0] + after[1]) / 2));
  }
}
