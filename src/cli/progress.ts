/**
 * Progress of long work, on stderr so that results on stdout can be piped: on a terminal one line per running stage,
 * rewritten in place; otherwise JSON lines.
 */
import type { Colors, TextStream } from './colors.ts';
import {
  type Figures,
  renderEnd,
  renderStage,
  type StageState,
  stageRecord,
  startStage,
  updateStage,
} from './progress-line.ts';

export interface StageOptions {
  /** How much there is to do; leave out when unknown. */
  readonly total?: number;
  /** Plural noun; default `steps`. */
  readonly unit?: string;
  /** Units that were done before, by a run that is resumed. */
  readonly from?: number;
}

export interface Stage {
  /** `done` units are finished in all. Cheap: call it as often as you like. Figures stay until replaced. */
  update(done: number, figures?: Figures): void;
  /** Leaves one line behind. Further calls do nothing. */
  end(figures?: Figures): void;
}

export interface Progress {
  start(name: string, options?: StageOptions): Stage;
  /** A line that stays: a notice, or a warning. */
  note(text: string, level?: 'info' | 'warning'): void;
  /** An event for programs that has no place on a terminal, unless `text` says it in words. */
  record(record: Readonly<Record<string, unknown>>, text?: string): void;
  /** Takes the live lines away while `write` writes to the same terminal. */
  aside(write: () => void): void;
  /** Marks running stages as stopped. */
  close(): void;
}

export interface ProgressOptions {
  readonly stream: TextStream;
  /** `live` rewrites lines, `json` writes JSON lines, `quiet` writes warnings only. */
  readonly mode: 'live' | 'json' | 'quiet';
  readonly colors: Colors;
  /** Milliseconds, never going back. */
  readonly clock: () => number;
  /** Calls back every `ms` until the returned function is called; keeps `time left` moving during a long step. */
  readonly every?: (ms: number, tick: () => void) => () => void;
}

/** Live lines are rewritten at most this often (ms). */
const LIVE_INTERVAL = 100;
/** A stage writes a JSON line at most this often (ms), apart from its start and end. */
const JSON_INTERVAL = 5_000;

/** Live on a terminal, JSON lines when it is none, in CI, and with `--json`. */
export function progressMode(options: {
  readonly stream: TextStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly json: boolean;
  readonly quiet: boolean;
}): ProgressOptions['mode'] {
  if (options.quiet) return 'quiet';
  const ci = options.env.CI ?? '';
  const automatic = ci !== '' && ci !== 'false' && ci !== '0';
  return options.json || automatic || options.stream.isTTY !== true || options.env.TERM === 'dumb'
    ? 'json'
    : 'live';
}

export function createProgress(options: ProgressOptions): Progress {
  return options.mode === 'live' ? liveProgress(options) : lineProgress(options);
}

function liveProgress({ stream, colors, clock, every }: ProgressOptions): Progress {
  const running: { state: StageState }[] = [];
  let drawn = 0;
  let drawnAt = Number.NEGATIVE_INFINITY;
  let stopTicking: (() => void) | undefined;

  const erase = (): string => (drawn === 0 ? '' : `\u001b[${drawn}A\r\u001b[J`);
  /** One column is left free: a terminal wraps a line that fills it. */
  const lineWidth = (): number => Math.max(20, (stream.columns ?? 80) - 1);
  /** One write per frame, so that the terminal never shows half of it. */
  const draw = (above = ''): void => {
    const now = clock();
    const width = lineWidth();
    const lines = running.map(({ state }) => `${renderStage(state, now, width, colors)}\n`);
    const frame = `${erase()}${above}${lines.join('')}`;
    drawn = lines.length;
    drawnAt = now;
    if (frame !== '') stream.write(frame);
  };
  const leave = (entry: { state: StageState }, ended: 'done' | 'stopped'): void => {
    running.splice(running.indexOf(entry), 1);
    draw(`${renderEnd(entry.state, clock(), ended, colors, lineWidth())}\n`);
    if (running.length === 0) {
      stopTicking?.();
      stopTicking = undefined;
    }
  };

  return {
    start: (name, { total, unit, from } = {}) => {
      const entry = { state: startStage(name, clock(), total, unit, from) };
      running.push(entry);
      stopTicking ??= every?.(500, () => draw());
      draw();
      return {
        update: (done, figures) => {
          const now = clock();
          entry.state = updateStage(entry.state, now, done, figures);
          if (now - drawnAt >= LIVE_INTERVAL && running.includes(entry)) draw();
        },
        end: (figures) => {
          if (!running.includes(entry)) return;
          entry.state = { ...entry.state, figures: { ...entry.state.figures, ...figures } };
          leave(entry, 'done');
        },
      };
    },
    note: (text, level = 'info') => draw(`${noteText(text, level, colors)}\n`),
    record: (_, text) => {
      if (text !== undefined) draw(`${text}\n`);
    },
    aside: (write) => {
      if (drawn > 0) stream.write(erase());
      const again = drawn > 0;
      drawn = 0;
      write();
      if (again) draw();
    },
    close: () => {
      for (const entry of [...running]) leave(entry, 'stopped');
    },
  };
}

function lineProgress({ stream, mode, colors, clock }: ProgressOptions): Progress {
  const running = new Set<{ state: StageState; writtenAt: number }>();
  const write = (record: Readonly<Record<string, unknown>>): void => {
    if (mode === 'json') stream.write(`${JSON.stringify(record)}\n`);
  };
  return {
    start: (name, { total, unit, from } = {}) => {
      const entry = { state: startStage(name, clock(), total, unit, from), writtenAt: clock() };
      running.add(entry);
      write(stageRecord('start', entry.state, clock()));
      return {
        update: (done, figures) => {
          const now = clock();
          entry.state = updateStage(entry.state, now, done, figures);
          if (now - entry.writtenAt < JSON_INTERVAL || !running.has(entry)) return;
          entry.writtenAt = now;
          write(stageRecord('progress', entry.state, now));
        },
        end: (figures) => {
          if (!running.delete(entry)) return;
          entry.state = { ...entry.state, figures: { ...entry.state.figures, ...figures } };
          write(stageRecord('end', entry.state, clock()));
        },
      };
    },
    note: (text, level = 'info') => {
      if (mode === 'json') write({ event: 'note', level, text });
      // Whoever asked for quiet still wants to know what is wrong.
      else if (level === 'warning') stream.write(`${noteText(text, level, colors)}\n`);
    },
    record: (record) => write(record),
    aside: (action) => action(),
    close: () => {
      for (const entry of running) write(stageRecord('stopped', entry.state, clock()));
      running.clear();
    },
  };
}

function noteText(text: string, level: 'info' | 'warning', colors: Colors): string {
  return level === 'warning' ? `${colors.yellow('warning')} ${text}` : text;
}
