/** What all decoders do around their layers: masks and rotary tables, cache, rematerialisation, counts. */
import { sizeOf } from '../core/shapes.ts';
import { checkpoint } from '../graph/gradient.ts';
import { cachedAttention } from '../graph/ops/cached-attention.ts';
import { concat } from '../graph/ops/shape.ts';
import type { Tensor } from '../graph/tensor.ts';
import {
  attention,
  cacheMask,
  causalAttention,
  causalMask,
  countedMask,
  mergeHeads,
  packedMask,
  type ScoreOptions,
} from '../nn/attention.ts';
import { linear } from '../nn/linear.ts';
import type { ParameterSpec } from '../nn/parameters.ts';
import { type RopeConfig, type RopeTables, ropeTables, rotateHeads } from '../nn/rope.ts';
import type { CausalInput, CausalModel, LayerCache, Weights } from './causal-model.ts';

/** How one layer attends. */
export interface LayerAttention {
  /** Multiplies scores; 1 / √E when left out. */
  readonly scale?: number;
  /** Scores are bent to lie within ±cap; not bent when left out. */
  readonly cap?: number | undefined;
  /** Rotary positions; none when left out. Layers with the same object share its tables. */
  readonly rope?: RopeConfig;
  /** A token sees the last `window` tokens, itself included; all earlier ones when left out. */
  readonly window?: number | undefined;
}

/** One layer at work: its weights by their name inside the layer, and its attention. */
export interface Layer {
  weight(name: string): Tensor;
  /** x [..., I] → [..., O] by `<name>.weight` [O, I], and `<name>.bias` where the layer has one. */
  linear(x: Tensor, name: string): Tensor;
  /** Rotates heads [B, H, T, E] by their positions. */
  rotate(x: Tensor): Tensor;
  /** Causal attention, heads of query [B, H, T, E], key and value [B, K, T, E] → [B, T, H·E], and what to cache. */
  attend(query: Tensor, key: Tensor, value: Tensor): { readonly mixed: Tensor; readonly cache: LayerCache };
}

/** What an architecture has to say; `decoder` makes the model of it. */
export interface DecoderArchitecture
  extends Pick<
    CausalModel,
    'type' | 'vocabSize' | 'hiddenSize' | 'keyValueHeads' | 'headSize' | 'maxPositions' | 'logitCap'
  > {
  /** Before the layers: embeddings, which are looked up and never multiplied. */
  readonly embeddings: readonly ParameterSpec[];
  /** `layerCount` layers with the same parameters, named `<prefix>.<index>.<name>`. */
  readonly layers: {
    readonly prefix: string;
    readonly count: number;
    readonly parameters: readonly ParameterSpec[];
  };
  /** After the layers: the last normalisation, and the output embedding where it is not tied. */
  readonly final: readonly ParameterSpec[];
  /** Name of the output embedding, among `final` or, where it is tied, among `embeddings`. */
  readonly outputEmbedding: string;
  /** [B, T] ids (and positions, where they are embedded) → [B, T, D]. */
  embed(weights: Weights, input: CausalInput): Tensor;
  attention(layer: number): LayerAttention;
  /** One layer, [B, T, D] → [B, T, D]. */
  block(x: Tensor, layer: Layer): readonly [Tensor, LayerCache];
  /** The last normalisation, [B, T, D] → [B, T, D]. */
  normalize(weights: Weights, hidden: Tensor): Tensor;
}

/** A causal model from what its architecture says. */
export function decoder(architecture: DecoderArchitecture): CausalModel {
  const { embeddings, layers, final, outputEmbedding, embed, attention: attentionOf, block } = architecture;
  const indices = [...Array(layers.count).keys()];
  const kinds = indices.map(attentionOf);
  const headElements = architecture.vocabSize * architecture.hiddenSize;
  const layerMatrices = layers.parameters.filter(({ shape }) => shape.length === 2);

  function forward(weights: Weights, input: CausalInput) {
    const { past, history, embedded = (x) => x, rematerialize = false } = input;
    const contexts = createContexts(kinds, input);
    let hidden = embedded(embed(weights, input)); // [B, T, D]
    const cache: LayerCache[] = [];
    for (const index of indices) {
      const layer = createLayer(weights, `${layers.prefix}.${index}`, {
        ...contexts[index]!,
        ...(past === undefined ? {} : { past: { ...past, layer: past.layers[index]! } }),
        ...(history === undefined ? {} : { history: { earlier: history.layers?.[index] } }),
      });
      if (rematerialize) {
        [hidden] = checkpoint((x) => [block(x!, layer)[0]])(hidden) as [Tensor];
      } else {
        const [next, own] = block(hidden, layer);
        hidden = next;
        cache.push(own);
      }
    }
    return { hidden: architecture.normalize(weights, hidden), cache };
  }

  return {
    type: architecture.type,
    vocabSize: architecture.vocabSize,
    hiddenSize: architecture.hiddenSize,
    layerCount: layers.count,
    keyValueHeads: architecture.keyValueHeads,
    headSize: architecture.headSize,
    // The operation behind it takes heads of multiples of 8, and knows neither windows nor caps.
    inPlaceCache:
      architecture.headSize % 8 === 0 &&
      kinds.every(({ window, cap }) => window === undefined && cap === undefined),
    maxPositions: architecture.maxPositions,
    ...(architecture.logitCap === undefined ? {} : { logitCap: architecture.logitCap }),
    parameters: [
      ...embeddings,
      ...indices.flatMap((index) =>
        layers.parameters.map((spec) => ({ ...spec, name: `${layers.prefix}.${index}.${spec.name}` })),
      ),
      ...final,
    ],
    forward,
    head: (weights) => weights[outputEmbedding]!,
    matrixParameters:
      layers.count * layerMatrices.reduce((total, { shape }) => total + sizeOf(shape), 0) + headElements,
  };
}

/** What the layers of one kind share in one call. */
interface Context {
  readonly kind: LayerAttention;
  readonly positions: Tensor;
  readonly tables: RopeTables | undefined;
  readonly mask: Tensor;
  /** Of the cached entries, where there are any. */
  readonly pastMask: Tensor | undefined;
}

/** Masks and rotary tables, made once for all layers that have them in common. */
function createContexts(
  kinds: readonly LayerAttention[],
  { ids, positions, segments, past, history }: CausalInput,
): readonly Context[] {
  const T = ids.shape[1]!;
  const cached = past?.layers[0]?.key.shape[2] ?? 0;
  const length = history?.tableLength ?? T + cached;
  const tables = new Map<RopeConfig, RopeTables>();
  const masks = new Map<number | undefined, Pick<Context, 'mask' | 'pastMask'>>();
  for (const { rope, window } of kinds) {
    if (rope !== undefined && !tables.has(rope)) tables.set(rope, ropeTables(rope, length));
    if (masks.has(window)) continue;
    const recent = window === undefined ? undefined : { window, T };
    masks.set(window, {
      mask:
        history !== undefined
          ? countedMask(history.counted, T, window)
          : segments === undefined
            ? causalMask(T, window)
            : packedMask(segments, window),
      pastMask: past === undefined ? undefined : cacheMask(past.lengths, cached, recent),
    });
  }
  return kinds.map((kind) => ({
    kind,
    positions,
    tables: kind.rope && tables.get(kind.rope),
    ...masks.get(kind.window)!,
  }));
}

interface LayerContext extends Context {
  readonly past?: { readonly layer: LayerCache; readonly lengths: Tensor; readonly inPlace?: boolean };
  readonly history?: { readonly earlier: LayerCache | undefined };
}

function createLayer(weights: Weights, at: string, context: LayerContext): Layer {
  const { kind, positions, tables, mask, pastMask, past, history } = context;
  const scores: ScoreOptions = {
    ...(kind.scale === undefined ? {} : { scale: kind.scale }),
    ...(kind.cap === undefined ? {} : { cap: kind.cap }),
  };
  return {
    weight: (name) => weights[`${at}.${name}`]!,
    linear: (x, name) => linear(x, weights[`${at}.${name}.weight`]!, weights[`${at}.${name}.bias`]),
    rotate: (x) => (tables === undefined ? x : rotateHeads(x, positions, tables)),
    attend(query, key, value) {
      if (history !== undefined) {
        const { earlier } = history;
        const all =
          earlier === undefined
            ? { key, value }
            : { key: concat([earlier.key, key], 2), value: concat([earlier.value, value], 2) };
        return { mixed: mergeHeads(attention(query, all.key, all.value, mask, scores)), cache: all };
      }
      if (past?.inPlace === true) {
        const { mixed, ...cache } = cachedAttention(query, key, value, past.layer, past.lengths, kind.scale);
        return { mixed: mergeHeads(mixed), cache };
      }
      const window = kind.window === undefined ? {} : { window: kind.window };
      const mixed =
        past === undefined
          ? causalAttention(query, key, value, mask, { ...scores, ...window })
          : attention(query, key, value, mask, { ...scores, past: { ...past.layer, mask: pastMask! } });
      return { mixed: mergeHeads(mixed), cache: { key, value } };
    },
  };
}
