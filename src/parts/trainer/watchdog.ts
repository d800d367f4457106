/** Watchdogs: rules that tell a run that goes wrong, and what to do then. */
import { CheckpointError, ConfigError, NumericError } from '../../core/errors.ts';
import { mean } from '../../core/statistics.ts';

export interface WatchSettings {
  /** Stop the run; go back to the last checkpoint and on from there with a lower learning rate; or only tell. */
  readonly action: 'stop' | 'roll-back' | 'warn';
  /** Records that the rules with a history look back on. */
  readonly window: number;
  /** Largest KL to the reference, nats per completion. */
  readonly kl?: number | undefined;
  /** Smallest mean token entropy, nats. */
  readonly entropy?: number | undefined;
  /** Largest factor, above 1, by which the mean length may grow or shrink from that of the first `window` iterations. */
  readonly length?: number | undefined;
  /** Largest fall of the mean score below the best mean of `window` iterations in succession, in units of score. */
  readonly reward?: number | undefined;
  /** Largest gradient norm, as a multiple of the median of the last `window` updates. */
  readonly gradNorm?: number | undefined;
  /** Roll-backs after which the run stops. */
  readonly rollbackLimit: number;
  /** Multiplies the learning rate at each roll-back. */
  readonly rollbackLearningRate: number;
}

/** A rule that was broken. */
export interface Alarm {
  readonly rule: 'nan' | 'kl' | 'entropy' | 'length' | 'reward' | 'gradNorm';
  /** What was measured and what was allowed, in words. */
  readonly text: string;
}

type Figures = Readonly<Record<string, number>>;

export interface Watchdog {
  readonly action: WatchSettings['action'];
  /** Multiplies every learning rate: below 1 after roll-backs. */
  readonly learningRateScale: number;
  readonly rollbacks: number;
  /** Looks at what an iteration sampled, before anything is learned; an alarm comes with the next update. */
  iteration(metrics: Figures): void;
  /**
   * Looks at an update whose gradient is known and not applied yet: `loss`, the metrics of its step, and the norm of its
   * gradient as `grad_norm` (of a critic as `critic/grad_norm`, which only has to be finite).
   */
  update(figures: Figures): Alarm | undefined;
  /** Counts a roll-back. False when there were as many as are allowed. */
  rollBack(): boolean;
  /** History and counts, for a checkpoint: a resumed run is watched as an uninterrupted one. */
  state(): Record<string, number>;
  /** Roll-backs that were counted since stay counted. */
  load(state: Figures): void;
}

const entropyNames = ['policy/entropy_avg', 'entropy'];
const format = (value: number): string => String(Number(value.toPrecision(6)));

/**
 * - nan, always: loss or gradient norm is not finite;
 * - kl: `objective/kl` > kl;
 * - entropy: `policy/entropy_avg` (else `entropy`) < entropy;
 * - length: `completions/mean_length` outside [L / length, L · length], L its mean over the first `window` iterations;
 * - reward: `objective/scores` < best mean of `window` iterations in succession − reward;
 * - gradNorm: `grad_norm` > gradNorm · median of the last `window` updates, once there were so many.
 *
 * @throws ConfigError when a factor is not above 1 or a limit is not above 0
 */
export function createWatchdog(settings: WatchSettings): Watchdog {
  requireLimits(settings);
  const { action, window, kl, entropy, length, reward, gradNorm } = settings;
  let histories = { lengths: [] as number[], scores: [] as number[], norms: [] as number[] };
  let bestScore: number | undefined;
  let rollbacks = 0;
  let pending: Alarm | undefined;

  const alarmOf = (rule: Alarm['rule'], name: string, value: number, limit: string): Alarm => ({
    rule,
    text: `${name} is ${format(value)}, ${limit}`,
  });
  const ofIteration = (metrics: Figures): Alarm | undefined => {
    const divergence = metrics['objective/kl'];
    if (kl !== undefined && divergence !== undefined && !(divergence <= kl)) {
      return alarmOf('kl', 'objective/kl', divergence, `above ${kl} nats`);
    }
    const tokens = metrics['completions/mean_length'];
    if (length !== undefined && tokens !== undefined) {
      const { lengths } = histories;
      if (lengths.length < window) lengths.push(tokens);
      else {
        const usual = mean(lengths);
        if (tokens > usual * length || tokens < usual / length) {
          return alarmOf(
            'length',
            'completions/mean_length',
            tokens,
            `outside ${format(usual / length)} to ${format(usual * length)}`,
          );
        }
      }
    }
    const score = metrics['objective/scores'];
    if (reward !== undefined && score !== undefined) {
      if (bestScore !== undefined && score < bestScore - reward) {
        return alarmOf('reward', 'objective/scores', score, `more than ${reward} below ${format(bestScore)}`);
      }
      histories.scores = [...histories.scores, score].slice(-window);
      if (histories.scores.length === window) {
        bestScore = Math.max(bestScore ?? Number.NEGATIVE_INFINITY, mean(histories.scores));
      }
    }
    return undefined;
  };
  const ofUpdate = (figures: Figures): Alarm | undefined => {
    const { loss = 0, grad_norm: norm, 'critic/grad_norm': criticNorm = 0 } = figures;
    if (!Number.isFinite(loss)) return alarmOf('nan', 'the loss', loss, 'not finite');
    const bad = [norm ?? 0, criticNorm].find((value) => !Number.isFinite(value));
    if (bad !== undefined) return alarmOf('nan', 'the gradient norm', bad, 'not finite');
    const spread = entropyNames.map((name) => figures[name]).find((value) => value !== undefined);
    if (entropy !== undefined && spread !== undefined && !(spread >= entropy)) {
      return alarmOf('entropy', 'the mean token entropy', spread, `below ${entropy} nats`);
    }
    if (gradNorm === undefined || norm === undefined) return undefined;
    const usual = median(histories.norms);
    const spikes = histories.norms.length === window && norm > gradNorm * usual;
    histories.norms = [...histories.norms, norm].slice(-window);
    return spikes
      ? alarmOf('gradNorm', 'the gradient norm', norm, `above ${gradNorm} times ${format(usual)}`)
      : undefined;
  };

  return {
    action,
    get learningRateScale() {
      return settings.rollbackLearningRate ** rollbacks;
    },
    get rollbacks() {
      return rollbacks;
    },
    iteration(metrics) {
      pending = ofIteration(metrics);
    },
    update(figures) {
      const alarm = ofUpdate(figures) ?? pending;
      pending = undefined;
      return alarm;
    },
    rollBack() {
      rollbacks++;
      return rollbacks <= settings.rollbackLimit;
    },
    state: () => ({
      ...(rollbacks > 0 && { 'watch.rollbacks': rollbacks }),
      ...(bestScore !== undefined && { 'watch.bestScore': bestScore }),
      ...Object.fromEntries(
        Object.entries(histories).flatMap(([name, list]) =>
          list.map((value, index) => [`watch.${name}.${index}`, value]),
        ),
      ),
    }),
    load(state) {
      rollbacks = Math.max(rollbacks, state['watch.rollbacks'] ?? 0);
      bestScore = state['watch.bestScore'];
      const listOf = (name: string): number[] => {
        const list: number[] = [];
        for (
          let value = state[`watch.${name}.0`];
          value !== undefined;
          value = state[`watch.${name}.${list.length}`]
        ) {
          list.push(value);
        }
        return list;
      };
      histories = { lengths: listOf('lengths'), scores: listOf('scores'), norms: listOf('norms') };
      pending = undefined;
    },
  };
}

/** The middle of the sorted values, of two the mean; 0 of none. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  if (sorted.length === 0) return 0;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

function requireLimits({ length, gradNorm, window, rollbackLearningRate }: WatchSettings): void {
  const check = (name: string, value: number | undefined, good: boolean, expected: string): void => {
    if (value === undefined || good) return;
    throw new ConfigError({ where: name, expected, received: String(value) });
  };
  check('watchLength', length, length! > 1, 'a factor above 1');
  check('watchGradNorm', gradNorm, gradNorm! > 1, 'a factor above 1');
  check('watchWindow', window, Number.isInteger(window) && window > 0, 'a whole number above 0');
  check(
    'rollbackLearningRate',
    rollbackLearningRate,
    rollbackLearningRate > 0 && rollbackLearningRate <= 1,
    'a factor above 0 and at most 1',
  );
}

/** A watchdog ended an update; the weights are those before it. */
export class WatchdogError extends NumericError {
  readonly alarm: Alarm;

  constructor(where: string, alarm: Alarm, fix: string) {
    super({ where, expected: `no alarm of the watchdog "${alarm.rule}"`, received: alarm.text, fix });
    this.alarm = alarm;
  }
}

/**
 * What a loop does with an error of an update: where its watchdog rolls back, the state of the last checkpoint, whose weights
 * `restore` has loaded; in every other case the error.
 *
 * @throws the error; CheckpointError when there is no checkpoint to go back to
 */
export async function rollBack<T>(
  error: unknown,
  { watchdog, note }: { readonly watchdog: Watchdog; note(message: string): void },
  restore: () => Promise<T | undefined> | undefined,
): Promise<T> {
  if (!(error instanceof WatchdogError) || watchdog.action !== 'roll-back') throw error;
  if (!watchdog.rollBack()) {
    throw new WatchdogError(
      error.where,
      error.alarm,
      `${error.fix} It came again after ${watchdog.rollbacks - 1} roll-backs`,
    );
  }
  const state = await restore();
  if (state !== undefined) {
    note(
      `back to the last checkpoint after ${error.where}: ${error.alarm.text}; learning rate × ${watchdog.learningRateScale}`,
    );
    return state;
  }
  throw new CheckpointError({
    where: 'roll back',
    expected: 'a checkpoint from before the alarm',
    received: 'none',
    fix: 'Save more often (--save-every), or look at what the watchdog saw: the alarm may come before anything is learned',
  });
}
