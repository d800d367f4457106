/** A stage of long work as data, and that data as one line. Nothing here knows a clock or a stream. */
import type { Colors } from './colors.ts';
import { formatDuration, formatNumber } from './format.ts';

/** Numbers shown beside the bar, by name: `{ loss: 2.31 }`. */
export type Figures = Readonly<Record<string, number | string>>;

export interface StageState {
  readonly name: string;
  /** Plural noun: `steps`, `rows`, `tokens`. */
  readonly unit: string;
  /** undefined when it is not known. */
  readonly total: number | undefined;
  readonly done: number;
  /** What was done before the stage began, by a run that is resumed; it counts in no rate. */
  readonly from: number;
  readonly figures: Figures;
  /** Milliseconds of the clock. */
  readonly startedAt: number;
  /** Recent (time, done) pairs, oldest first; the rate is taken over them. */
  readonly samples: readonly (readonly [at: number, done: number])[];
}

/** The rate looks back this far (ms): long enough to be steady, short enough to notice a change. */
const WINDOW = 15_000;
/** Samples closer together than this (ms) are merged, which bounds their number. */
const GRAIN = 100;

export function startStage(name: string, now: number, total?: number, unit = 'steps', from = 0): StageState {
  return { name, unit, total, done: from, from, figures: {}, startedAt: now, samples: [[now, from]] };
}

export function updateStage(state: StageState, now: number, done: number, figures: Figures = {}): StageState {
  const samples = [...state.samples];
  // The first sample marks the start and stays until it leaves the window.
  if (samples.length > 1 && now - samples.at(-2)![0] < GRAIN) samples.pop();
  samples.push([now, done]);
  // The sample before the window's edge is kept, so that one slow step still gives a rate.
  while (samples.length > 2 && samples[1]![0] <= now - WINDOW) samples.shift();
  return { ...state, done, figures: { ...state.figures, ...figures }, samples };
}

/** Units per second over the window, undefined before anything was done. */
export function rateOf(state: StageState): number | undefined {
  const [firstAt, firstDone] = state.samples[0]!;
  const [lastAt, lastDone] = state.samples.at(-1)!;
  return lastAt > firstAt && lastDone > firstDone
    ? ((lastDone - firstDone) * 1000) / (lastAt - firstAt)
    : undefined;
}

/** Seconds until `total`, undefined when total or rate are unknown. Counts down between updates. */
export function secondsLeft(state: StageState, now: number): number | undefined {
  const rate = rateOf(state);
  if (rate === undefined || state.total === undefined) return undefined;
  const sinceUpdate = (now - state.samples.at(-1)![0]) / 1000;
  return Math.max(0, (state.total - state.done) / rate - sinceUpdate);
}

/** The running stage in at most `width` characters (colors not counted). Figures go first when space is short, then the bar. */
export function renderStage(state: StageState, now: number, width: number, colors: Colors): string {
  const left = secondsLeft(state, now);
  const elapsed = (now - state.startedAt) / 1000;
  const counts =
    state.total === undefined
      ? formatNumber(state.done)
      : `${formatNumber(state.done)}/${formatNumber(state.total)}`;
  const fixed = [`${counts} ${state.unit}`];
  const rate = rateOf(state);
  if (rate !== undefined) fixed.push(formatRate(rate, state.unit));
  const figures = figureTexts(state.figures);
  const time = left === undefined ? formatDuration(elapsed) : `${formatDuration(left)} left`;

  const assemble = (): string[] => [...fixed, ...figures, time];
  const length = (bar: number): number =>
    state.name.length + 2 + (bar === 0 ? 0 : bar + 2) + assemble().join(' · ').length;
  let bar = state.total === undefined ? 0 : 24;
  while (length(bar) > width && figures.length > 0) figures.pop();
  while (length(bar) > width && bar > 0) bar = bar > 8 ? bar - 4 : 0;
  const text = assemble().join(' · ');
  const room = Math.max(0, width - state.name.length - 2 - (bar === 0 ? 0 : bar + 2));
  const shown = text.length > room ? text.slice(0, room) : text;
  const name = state.name.slice(0, width);
  return `${colors.bold(name)}  ${bar === 0 ? '' : `${renderBar(state.done / state.total!, bar, colors)}  `}${shown}`.trimEnd();
}

/** The line that stays when a stage has ended, with as many figures as fit. */
export function renderEnd(
  state: StageState,
  now: number,
  ended: 'done' | 'stopped',
  colors: Colors,
  width = Number.POSITIVE_INFINITY,
): string {
  const seconds = (now - state.startedAt) / 1000;
  const complete = ended === 'done' || state.total === undefined;
  const counts = complete
    ? formatNumber(state.done)
    : `${formatNumber(state.done)}/${formatNumber(state.total!)}`;
  const unit = counts === '1' ? state.unit.replace(/s$/, '') : state.unit;
  const parts = [`${counts} ${unit} in ${formatDuration(seconds)}`];
  const rate = meanRate(state, seconds);
  if (rate !== undefined) parts.push(formatRate(rate, state.unit));
  const start = `${state.name}  ${ended === 'done' ? '' : 'stopped at '}`;
  for (const figure of figureTexts(state.figures)) {
    if (2 + start.length + [...parts, figure].join(' · ').length > width) break;
    parts.push(figure);
  }
  const mark = ended === 'done' ? colors.green('✓') : colors.yellow('■');
  return `${mark} ${colors.bold(state.name)}  ${ended === 'done' ? '' : 'stopped at '}${parts.join(' · ')}`;
}

/** The same facts for programs. Seconds; rate in units per second; null for what is not known. */
export function stageRecord(
  event: 'start' | 'progress' | 'end' | 'stopped',
  state: StageState,
  now: number,
): Record<string, unknown> {
  const seconds = (now - state.startedAt) / 1000;
  const over = event === 'end' || event === 'stopped';
  const rate = over ? meanRate(state, seconds) : rateOf(state);
  return {
    event,
    stage: state.name,
    unit: state.unit,
    done: state.done,
    total: state.total ?? null,
    seconds: Number(seconds.toFixed(3)),
    rate: rate === undefined ? null : round(rate),
    secondsLeft: over ? null : roundOrNull(secondsLeft(state, now)),
    figures: state.figures,
  };
}

function meanRate(state: StageState, seconds: number): number | undefined {
  return seconds > 0 && state.done > state.from ? (state.done - state.from) / seconds : undefined;
}

function figureTexts(figures: Figures): string[] {
  return Object.entries(figures).map(
    ([name, value]) => `${name} ${typeof value === 'number' ? formatNumber(value) : value}`,
  );
}

/** `12.5/s`, or below one a second the time of each: `4.2 s/step`. */
function formatRate(rate: number, unit: string): string {
  return rate >= 1
    ? `${formatNumber(rate, 3)}/s`
    : `${formatNumber(1 / rate, 3)} s/${unit.replace(/s$/, '')}`;
}

function renderBar(share: number, width: number, colors: Colors): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * width);
  return `${colors.cyan('━'.repeat(full))}${colors.dim('─'.repeat(width - full))}`;
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}

function roundOrNull(value: number | undefined): number | null {
  return value === undefined ? null : round(value);
}
