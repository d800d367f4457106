/** What a method file fills in. Everything that methods share lies in `parts/`. */
import type { z } from 'zod';
import type { ConfigSchema } from '../core/config.ts';
import { type MetricDefinition, metric } from '../core/metrics.ts';
import type { EncodeReport, Row } from '../data/index.ts';
import type { Engine } from '../engine/engine.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { LoadedModel, ReadOptions } from '../models/checkpoint.ts';
import type { ModelWithParameters } from '../models/lora-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { TrainStep } from './step/train-step.ts';
import type { TrainerConfig } from './trainer/config.ts';

/** Models a method works with. A reference is the policy as it was before training, a teacher any other language model. */
export type Role = 'policy' | 'reference' | 'teacher';

/** What building a step may use besides the configuration. */
export interface BuildContext {
  /** Frozen; only where the method needs one. */
  readonly teacher?: ModelWithParameters;
  /** Tokens that end a completion. */
  readonly stopIds: ReadonlySet<number>;
}

/** What encoding a row may use. */
export interface EncodeContext<C> {
  readonly config: C;
  readonly tokenizer: Tokenizer;
  readonly model: CausalModel;
  /** Only where the method needs one. */
  readonly teacher?: CausalModel;
  /** Where encoded rows may be kept (see `encodeCache`); undefined when there are so few that it does not pay. */
  readonly encodeFolder?: string;
}

/** What preparing the encoded examples may use. */
export interface PrepareContext<C> extends EncodeContext<C> {
  readonly engine: Engine;
  readonly parameters: Parameters;
  readonly modelConfig: object;
  /** The encoded examples of the training rows, whichever examples are prepared. */
  readonly training: readonly unknown[];
  /** Folder for results that may be used again. */
  readonly cacheFolder: string;
  readonly onProgress: (stage: string, done: number, total: number) => void;
}

/** Rows of a data set as examples, with what had to be cut or left out. */
export interface EncodedRows<E> {
  readonly examples: readonly E[];
  readonly report: EncodeReport;
}

/** What finishing a run may use: the model is trained, and nothing is saved yet. */
export interface FinishContext<C> extends PrepareContext<C> {
  readonly evaluation: readonly unknown[];
  /** Rows of a further data file. */
  readonly readRows: (path: string) => Promise<readonly Row[]>;
}

/** What a method adds to the result of a run. */
export interface Finish {
  /** Files of the model folder by name. */
  readonly files: Readonly<Record<string, string>>;
  /** Logged as the last record. */
  readonly metrics: Readonly<Record<string, number>>;
}

export interface TrainMethod<S extends ConfigSchema = ConfigSchema, E = unknown> {
  readonly id: string;
  readonly kind: 'train';
  /** One line for lists and help. */
  readonly summary: string;
  /** The row type it learns from, as TRL names it. */
  readonly data:
    | 'language modeling or prompt-completion'
    | 'language modeling, prompt-completion or prompt-only'
    | 'prompt-completion'
    | 'preference'
    | 'unpaired preference or preference'
    | 'stepwise supervision';
  readonly config: S;
  readonly needs: readonly Role[];
  readonly metrics: readonly MetricDefinition[];
  /** Loads the model to train. Default `loadModel`, which takes language models. */
  load?(source: string, options: ReadOptions): Promise<LoadedModel>;
  /** The model to train, from the one that was loaded, such as the same with a new head. Default: as loaded. */
  adapt?(
    loaded: LoadedModel,
    context: { readonly config: z.output<S>; readonly tokenizer: Tokenizer },
  ): LoadedModel;
  encode(rows: readonly Row[], context: EncodeContext<z.output<S>>): EncodedRows<E>;
  /** Work on the examples before training: packing, reference log-probabilities. */
  prepare?(examples: readonly E[], context: PrepareContext<z.output<S>>): Promise<readonly E[]>;
  /** @param context left out where there are no models, as in tests of a loss; a method that samples or has a teacher needs it */
  build(config: z.output<S>, context?: BuildContext): TrainStep<E>;
  /** The model as it is trained, with noise or the like. Default: as loaded. */
  trained?(model: CausalModel, config: z.output<S>): CausalModel;
  /** Measurements of the trained model, and files to save beside it. */
  finish?(context: FinishContext<z.output<S>>): Promise<Finish>;
}

/** Declares a method; the types of its slots follow from its schema. */
export function defineMethod<S extends ConfigSchema, E>(
  method: TrainMethod<S, E> & (z.output<S> extends TrainerConfig ? unknown : never),
): TrainMethod<S, E> {
  return method;
}

/** Metrics every training run logs. */
export const trainMetrics: readonly MetricDefinition[] = [
  metric('loss', 'mean of what is minimised over the steps since the last record, nats'),
  metric('grad_norm', 'L2 norm of the gradient before clipping'),
  metric('learning_rate', 'learning rate of the last step'),
  metric('epoch', 'passes over the training rows so far'),
  metric('num_tokens', 'tokens read so far, padding not counted'),
  metric('tokens_per_second', 'tokens read per second of training'),
];
