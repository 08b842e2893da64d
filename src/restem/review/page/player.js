// Plays the stems of one song in step. The selected stem leads; others run along with it while they are heard.

import { soundOf } from "./api.js";

const OFF_BY_S = 0.04; // between two stems that is not heard as an echo
const CHECK_MS = 400;
const EVEN_DB = -20; // the mean level to which stems are brought where they are matched
const MOST_DB = 24; // of amplification, or of attenuation

export class Player extends EventTarget {
  constructor() {
    super();
    this.sounds = new Map();
    this.heard = new Set();
    this.loop = null;
    this.looping = true;
    this.volume = 1;
    this.speed = 1;
    this.matched = false;
    this.levels = {}; // row -> dB
    setInterval(() => this.align(), CHECK_MS);
    const tick = () => {
      this.follow();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  get playing() {
    return this.lead !== undefined && !this.leader.paused;
  }

  get leader() {
    return this.sounds.get(this.lead);
  }

  get time() {
    return this.leader?.currentTime ?? 0;
  }

  // song: rows of the stems that may be heard. at_s: where to begin, by default where it is. levels: row -> dB.
  choose(lead, song, at_s, levels) {
    this.levels = levels;
    const playing = this.playing;
    const time = at_s ?? this.time;
    if (![...this.sounds.keys()].every((index) => song.includes(index))) this.clear();
    this.lead = lead;
    this.heard = new Set([lead]);
    this.sound(lead);
    this.seek(time);
    this.apply(playing);
  }

  clear() {
    for (const sound of this.sounds.values()) {
      sound.pause();
      sound.removeAttribute("src");
      sound.load(); // lets go of what was fetched
    }
    this.sounds.clear();
  }

  sound(index) {
    if (!this.sounds.has(index)) {
      const sound = new Audio();
      sound.preload = "auto";
      sound.preservesPitch = true;
      sound.src = soundOf(index);
      sound.addEventListener("error", () => this.dispatchEvent(new CustomEvent("problem", { detail: index })));
      for (const name of ["playing", "pause", "ended", "seeked"]) {
        sound.addEventListener(name, () => index === this.lead && this.dispatchEvent(new Event("change")));
      }
      this.sounds.set(index, sound);
      this.tune(index);
    }
    return this.sounds.get(index);
  }

  // What a listener set, of every sound; a speed outlives a change of the source only as the default one.
  set(settings) {
    Object.assign(this, settings);
    for (const index of this.sounds.keys()) this.tune(index);
  }

  tune(index) {
    const sound = this.sounds.get(index);
    sound.volume = this.volume;
    sound.defaultPlaybackRate = sound.playbackRate = this.speed;
    if (this.matched && !sound.gain) this.amplify(sound);
    if (!sound.gain) return;
    const by_db = this.matched && Number.isFinite(this.levels[index]) ? EVEN_DB - this.levels[index] : 0;
    sound.gain.gain.value = 10 ** (Math.max(-MOST_DB, Math.min(MOST_DB, by_db)) / 20);
  }

  // Leads a sound through an amplifier, which a media element has none of, and a limiter, so that nothing is cut.
  amplify(sound) {
    if (!this.context) {
      this.context = new AudioContext();
      this.limiter = new DynamicsCompressorNode(this.context, { threshold: -3, knee: 0, ratio: 20, attack: 0.002, release: 0.1 });
      this.limiter.connect(this.context.destination);
    }
    this.context.resume();
    sound.gain = new GainNode(this.context);
    this.context.createMediaElementSource(sound).connect(sound.gain).connect(this.limiter);
  }

  toggle() {
    this.apply(!this.playing);
  }

  // Which stems are heard: set(indices). The leader runs on even when it is not.
  listen(indices) {
    this.heard = new Set(indices);
    this.apply(this.playing);
  }

  apply(playing) {
    for (const index of this.heard) this.sound(index);
    for (const [index, sound] of this.sounds) {
      sound.muted = !this.heard.has(index);
      const runs = playing && (index === this.lead || this.heard.has(index));
      if (!runs) sound.pause();
      else if (sound.paused) {
        if (index !== this.lead) sound.currentTime = this.time;
        sound.play().catch(() => this.dispatchEvent(new Event("change")));
      }
    }
    this.dispatchEvent(new Event("change"));
  }

  seek(seconds) {
    const time = Math.max(0, Math.min(seconds, this.leader?.duration || Infinity));
    for (const sound of this.sounds.values()) sound.currentTime = time;
    this.dispatchEvent(new Event("change"));
  }

  follow() {
    if (!this.playing) return;
    if (this.looping && this.loop && this.time >= this.loop[1] && this.time < this.loop[1] + 1) this.seek(this.loop[0]);
    this.dispatchEvent(new Event("tick"));
  }

  align() {
    if (!this.playing || this.leader.seeking) return;
    for (const [index, sound] of this.sounds) {
      if (index !== this.lead && !sound.paused && !sound.seeking && Math.abs(sound.currentTime - this.time) > OFF_BY_S) {
        sound.currentTime = this.time;
      }
    }
  }
}
