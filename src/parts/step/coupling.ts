/** Losses that take something from their whole batch: it is found before the losses, so that micro-batches change nothing. */
import type { Engine } from '../../engine/engine.ts';
import type { CausalModel } from '../../models/causal-model.ts';
import type { Parameters } from '../../nn/parameters.ts';
import { createForward, type Forward, type ForwardKind } from '../forward.ts';

/** What the losses of a batch share: a mean, a ranking, a running figure. */
export interface Coupling<E> {
  /** A pass without gradients over the batch, before the losses; left out where the examples alone say enough. */
  survey?(model: CausalModel): ForwardKind<E>;
  /**
   * The examples, in order, each with what it takes from the batch.
   *
   * @param numbers of each example, by the survey
   * @param training whether running figures take this batch in
   */
  complete(batch: readonly E[], numbers: readonly ArrayLike<number>[], training: boolean): readonly E[];
  /** Running figures by name, for checkpoints; left out where there are none. */
  readonly running?: {
    state(): Readonly<Record<string, number>>;
    load(state: Readonly<Record<string, number>>): void;
  };
}

export interface CouplerOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Examples per forward pass. */
  readonly batchSize: number;
  /** Columns are padded to a multiple of this. */
  readonly bucket: number;
}

/** Completes batches with the weights as they are at each call. */
export interface Coupler<E> {
  complete(batch: readonly E[], training: boolean): Promise<readonly E[]>;
  dispose(): void;
}

/** Runs a coupling; without one, batches stay as they are. */
export function createCoupler<E>(coupling: Coupling<E> | undefined, options: CouplerOptions): Coupler<E> {
  if (coupling === undefined) return { complete: async (batch) => batch, dispose: () => {} };
  let survey: Forward<E> | undefined;
  return {
    async complete(batch, training) {
      if (survey === undefined && coupling.survey !== undefined) {
        survey = createForward(coupling.survey(options.model), options);
      }
      return coupling.complete(batch, (await survey?.run(batch)) ?? [], training);
    },
    dispose: () => survey?.dispose(),
  };
}
