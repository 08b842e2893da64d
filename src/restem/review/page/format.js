// How things are written, and elements made. Text from the server only ever becomes text.

export const clock = (seconds, digits = 0) => {
  const whole = Math.max(0, seconds);
  const minutes = Math.floor(whole / 60);
  const rest = (whole - 60 * minutes).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
};

export const labelSet = (text) => text || "nothing";

export const split = (text) => (text ? text.split("+") : []);

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in made && name !== "list") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const COLOURS = 16; // in the style sheet; one class more has the colour of the first again

export const classKey = (i) => `k${i % COLOURS}`;

export const classColour = (i) => colour(`--c${i % COLOURS}`);

export const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

// The seconds to write under an axis that begins at `from`: round ones, not more than fit.
export function ticks(seconds, most, from = 0) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const step = steps.find((one) => seconds / one <= most) ?? seconds / most;
  const first = Math.ceil(from / step - 1e-6);
  return Array.from({ length: Math.floor((from + seconds) / step + 1e-6) - first + 1 }, (_, i) => (first + i) * step);
}
