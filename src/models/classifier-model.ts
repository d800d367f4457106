import type { Tensor } from '../graph/tensor.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import type { Weights } from './causal-model.ts';

export interface ClassifierInput {
  /** int64 [B, T] token ids */
  readonly ids: Tensor;
  /** int64 [B, T]: 1 for a token that counts, 0 for padding, which follows them */
  readonly counted: Tensor;
  /** int64 [B, T]: 0 for tokens of a first text, 1 for those of a second. Left out: all 0. Ignored where `tokenTypes` is 1. */
  readonly types?: Tensor;
  /** Positions that rotary tables hold: for exported models, whose T only a run knows. Left out: T. */
  readonly tableLength?: number;
}

/** How numbers of the labels become scores: shares that sum to 1, probabilities of their own, or as they are. */
export type LabelKind = 'one-of' | 'each' | 'number';

/** A bidirectional encoder that gives numbers for labels, as traced functions of its weights. */
export interface ClassifierModel {
  /** `model_type` of config.json. */
  readonly type: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  /** Longest sequence in tokens. */
  readonly maxPositions: number;
  /** Kinds of tokens that the model tells apart; 1 where it knows no pairs of texts. */
  readonly tokenTypes: number;
  /** Names of the A labels. */
  readonly labels: readonly string[];
  readonly labelKind: LabelKind;
  /** Modules between the final hidden states and the numbers: what a checkpoint of the body alone may lack. */
  readonly headModules: readonly string[];
  /** Every weight with its shape and initialisation, in file order. */
  readonly parameters: readonly ParameterSpec[];
  /** Final hidden states [B, T, D]; those of padding mean nothing. */
  encode(weights: Weights, input: ClassifierInput): Tensor;
  /** Logits [B, A]. */
  classify(weights: Weights, input: ClassifierInput): Tensor;
}
