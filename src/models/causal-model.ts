import type { HostArray } from '../core/host-tensor.ts';
import type { Tensor, TensorType } from '../graph/tensor.ts';
import { linear } from '../nn/linear.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { softCap } from '../nn/soft-cap.ts';

/** Traced weights by their Hugging Face name. */
export type Weights = Readonly<Record<string, Tensor>>;

/** Keys and values of one layer, each [B, K, T, E]. */
export interface LayerCache {
  readonly key: Tensor;
  readonly value: Tensor;
}

export interface CausalInput {
  /** int64 [B, T] token ids */
  readonly ids: Tensor;
  /** int64 [B, T] positions, each below T plus the length of the cache */
  readonly positions: Tensor;
  /** int32 [B, T]: attend within equal numbers only (packing). Left out: plain causal attention. */
  readonly segments?: Tensor;
  /** Keys and values of earlier tokens, per layer [B, K, M, E], of which the first `lengths` (int64 [B]) count. */
  readonly past?: {
    readonly layers: readonly LayerCache[];
    readonly lengths: Tensor;
    /**
     * Store this call's key and value (T = 1) at position `lengths[b]` of the cache, and return the caches [B, K, M, E]
     * instead of the new entries. Only for models with `inPlaceCache`.
     */
    readonly inPlace?: boolean;
  };
  /**
   * Earlier keys and values per layer [B, K, M, E], and `counted` int64 [B, M + T]: 1 for each token of the rows that counts,
   * 0 for padding. Each layer then attends over old and new entries together and returns both, [B, K, M + T, E]. M may be 0
   * when the program runs: for exported models, whose sizes are known only then. Excludes `past` and `segments`.
   */
  readonly history?: {
    /** Left out: there are no earlier entries, M = 0, and each layer returns its new ones. */
    readonly layers?: readonly LayerCache[];
    readonly counted: Tensor;
    /** Positions that rotary tables hold. */
    readonly tableLength: number;
  };
  /** Changes the embeddings of the tokens, [B, T, D], before the layers: pictures take the place of their tokens. */
  readonly embedded?: (tokens: Tensor) => Tensor;
  /** Keep only each layer's input for the gradient and compute the inside again: less memory, a third more time. */
  readonly rematerialize?: boolean;
}

/** Names that output embeddings have in checkpoints, where they are not tied to the input embedding. */
export const OUTPUT_EMBEDDINGS: readonly string[] = ['lm_head.weight', 'embed_out.weight'];

/** A decoder-only language model as traced functions of its weights. */
export interface CausalModel {
  /** `model_type` of config.json. */
  readonly type: string;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layerCount: number;
  readonly keyValueHeads: number;
  readonly headSize: number;
  /** `forward` honours `past.inPlace`, by `cachedAttention`: decoding without copies. Left out: it does not. */
  readonly inPlaceCache?: boolean;
  /** Longest sequence in tokens. */
  readonly maxPositions: number;
  /** Every weight with its shape and initialisation, in file order. */
  readonly parameters: readonly ParameterSpec[];
  /** The weights under the names of the architecture, where they are kept in another form. Left out: they are not. */
  resolve?(weights: Weights): Weights;
  /** Final normalised hidden states [B, T, D], and this call's keys and values per layer. */
  forward(
    weights: Weights,
    input: CausalInput,
  ): { readonly hidden: Tensor; readonly cache: readonly LayerCache[] };
  /** Output embedding [V, D]; the input embedding where they are tied. */
  head(weights: Weights): Tensor;
  /** Logits are cap · tanh(hidden · headᵀ / cap) for this cap; hidden · headᵀ where it is left out. */
  readonly logitCap?: number;
  /** How the model differs in training, where it does: dropout. Left out: it does not. */
  readonly training?: TrainingForm;
  /** How it gives numbers for labels, where that is not a linear `score` head on the last token: an encoder (`encoderScoreModel`). */
  readonly labels?: LabelHead;
  /** Multiply–add operations ×2 of a forward pass per token, without attention scores: 2 × matrix parameters used. */
  readonly matrixParameters: number;
}

/** Numbers for labels by a head of the architecture's own. */
export interface LabelHead {
  /** Modules of the head, which are trained whole where an adapter changes the rest. */
  readonly modules: readonly string[];
  /**
   * Numbers [B, A] of sequences: `ids` int64 [B, T], and `last` int64 [B], the flat index b·T + t of each one's last token.
   */
  score(weights: Weights, input: { readonly ids: Tensor; readonly last: Tensor }): Tensor;
}

/** A model as it is in training: with random numbers that come in as data, so that programs stay functions of their inputs. */
export interface TrainingForm {
  /** Inputs of a program over `tokens` tokens, B·T. */
  types(tokens: number): Readonly<Record<string, TensorType>>;
  /** Numbers for them: a function of the model's seed and of which micro-batch of which step it is. */
  arrays(tokens: number, step: number, microBatch: number): Readonly<Record<string, HostArray>>;
  /** The model over traced inputs. */
  model(inputs: Readonly<Record<string, Tensor>>): CausalModel;
}

/** Logits [..., V] of final hidden states [..., D]. */
export function logitsOf(model: CausalModel, weights: Weights, hidden: Tensor): Tensor {
  const products = linear(hidden, model.head(weights));
  return model.logitCap === undefined ? products : softCap(products, model.logitCap);
}

/** Types of a model's weights by name: the inputs that every program over it has in common. */
export function weightTypes(model: Pick<CausalModel, 'parameters'>): Record<string, TensorType> {
  const types: Record<string, TensorType> = {};
  for (const { name, shape, dtype = 'float32' } of model.parameters) types[name] = { dtype, shape };
  return types;
}
