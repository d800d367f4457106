/** Encoders that give texts scores for labels, and the scorer made of one. */
import { ConfigError, DataError } from '../../core/errors.ts';
import type { Engine } from '../../engine/engine.ts';
import type { LabelKind } from '../../models/classifier-model.ts';
import type { LoadedClassifier } from '../../models/encoder-checkpoint.ts';
import { checkTokenizerFits, type Tokenizer } from '../../tokenizer/index.ts';
import { createForward } from '../forward.ts';
import type { Scorer } from './scorer.ts';

/** A text, or two texts that are judged together. */
export type ClassifierText = string | readonly [first: string, second: string];

export interface Classification {
  /** Numbers of the labels as the model gives them, in the order of `Classifier.labels`. */
  readonly logits: Float32Array;
  /**
   * By label: shares that sum to 1 where one label is right, a probability each where several may be, and the numbers
   * themselves for a regression.
   */
  readonly scores: Readonly<Record<string, number>>;
}

export interface Classifier {
  readonly labels: readonly string[];
  /** One classification per text, in order. */
  classify(texts: readonly ClassifierText[]): Promise<readonly Classification[]>;
  dispose(): void;
}

export interface ClassifierOptions {
  readonly engine: Engine;
  readonly classifier: LoadedClassifier;
  readonly tokenizer: Tokenizer;
  /** Texts per forward pass. Default 8. */
  readonly batchSize?: number;
  /** Columns are padded to a multiple of this: larger means fewer programs and more padding. Default 16. */
  readonly bucket?: number;
  /** Cut the end of a text that is too long for the model, the last token of all (SEP) kept. Default false: an error. */
  readonly truncate?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

interface EncodedText {
  readonly ids: readonly number[];
  readonly types: readonly number[];
}

/**
 * Scores texts with an encoder. Texts of similar length share a forward pass; a score does not depend on the others in its
 * batch (to float32 rounding).
 *
 * @throws CheckpointError when the tokenizer has ids that the model lacks
 * @throws DataError (from `classify`) naming the first text that is too long, has no token, or is a pair that the model or
 *   the tokenizer does not know
 * @example
 * const classifier = await loadClassifier('models/toxicity');
 * const { classify } = createClassifier({ engine, classifier, tokenizer: await loadTokenizer('models/toxicity') });
 * (await classify(['You are kind.']))[0].scores; // { toxic: 0.01, … }
 */
export function createClassifier({
  engine,
  classifier: { model, parameters, source },
  tokenizer,
  batchSize = 8,
  bucket = 16,
  truncate = false,
  onProgress,
}: ClassifierOptions): Classifier {
  checkTokenizerFits(tokenizer, { vocabSize: model.vocabSize, where: source });
  const withTypes = model.tokenTypes > 1;
  const columnsFor = (columns: number): number => Math.min(columns, model.maxPositions);
  const names = ['ids', 'counted', ...(withTypes ? ['types'] : [])];
  const forward = createForward<EncodedText>(
    {
      columns: ({ ids }) => ids.length,
      types: (rows, columns) =>
        Object.fromEntries(
          names.map((name) => [name, { dtype: 'int64', shape: [rows, columnsFor(columns)] }]),
        ),
      arrays(texts, rows, columns) {
        const T = columnsFor(columns);
        const [ids, counted, types] = [0, 0, 0].map(() => new BigInt64Array(rows * T));
        for (let row = 0; row < rows; row++) {
          const text = texts[row];
          // A row without a text still counts one token, so that nothing is divided by 0.
          counted!.fill(1n, row * T, row * T + (text?.ids.length ?? 1));
          ids!.set((text?.ids ?? []).map(BigInt), row * T);
          types!.set((text?.types ?? []).map(BigInt), row * T);
        }
        return { ids: ids!, counted: counted!, ...(withTypes ? { types: types! } : {}) };
      },
      trace: (weights, { ids, counted, types }) =>
        model.classify(weights, {
          ids: ids!,
          counted: counted!,
          ...(types === undefined ? {} : { types }),
        }),
      length: () => model.labels.length,
    },
    { engine, model, parameters, batchSize, bucket, ...(onProgress === undefined ? {} : { onProgress }) },
  );

  function encode(text: ClassifierText, index: number): EncodedText {
    const where = `text ${index + 1}`;
    const { ids, types } = typeof text === 'string' ? single(text) : pair(text, where);
    if (ids.length === 0) {
      throw new DataError({ where, expected: 'a text of at least one token', received: 'no token' });
    }
    if (ids.length <= model.maxPositions) return { ids, types };
    if (!truncate) {
      throw new DataError({
        where,
        expected: `at most ${model.maxPositions} tokens`,
        received: `${ids.length}`,
        fix: 'Shorten it, or set truncate to cut its end',
      });
    }
    const cut = <T>(list: readonly T[]): T[] => [...list.slice(0, model.maxPositions - 1), list.at(-1)!];
    return { ids: cut(ids), types: cut(types) };
  }

  const single = (text: string): EncodedText => {
    const ids = tokenizer.encode(text);
    return { ids, types: ids.map(() => 0) };
  };

  function pair([first, second]: readonly [string, string], where: string): EncodedText {
    if (tokenizer.encodePair === undefined) {
      throw new DataError({
        where,
        expected: 'one text',
        received: 'a pair, which this tokenizer does not know',
        fix: 'Join the texts, or use the tokenizer.json of the classifier',
      });
    }
    return tokenizer.encodePair(first, second);
  }

  return {
    labels: model.labels,
    async classify(texts) {
      const all = await forward.run(texts.map(encode));
      return all.map((logits) => {
        const scores = labelScores(logits, model.labelKind);
        return { logits, scores: Object.fromEntries(model.labels.map((name, i) => [name, scores[i]!])) };
      });
    },
    dispose: () => forward.dispose(),
  };
}

/**
 * Scores of labels from their logits z: e^z / Σ e^z where one label is right, 1 / (1 + e^−z) where each is a question of its
 * own, z for a regression. In float64, and finite for any finite logits.
 *
 * @example labelScores([0, Math.log(3)], 'one-of') // [0.25, 0.75]
 */
export function labelScores(logits: ArrayLike<number>, kind: LabelKind): number[] {
  const z = Array.from(logits);
  switch (kind) {
    case 'number':
      return z;
    case 'each':
      return z.map((x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x))));
    case 'one-of': {
      const most = Math.max(...z);
      const powers = z.map((x) => Math.exp(x - most));
      const total = powers.reduce((sum, x) => sum + x, 0);
      return powers.map((x) => x / total);
    }
  }
}

export interface ClassifierScorerOptions {
  readonly classifier: Classifier;
  /** Label whose score is the score of a completion. */
  readonly label: string;
  /** What is judged: the completion alone, or prompt and completion as a pair. Default `completion`. */
  readonly judge?: 'completion' | 'pair';
  /** Name in metrics and messages; the label when left out. */
  readonly name?: string;
}

/**
 * A classifier as a scorer: the score of one label for each completion. It reads texts, so its tokenizer need not be the
 * policy's. The classifier stays the caller's to dispose.
 *
 * @throws ConfigError when the classifier has no such label
 */
export function classifierScorer({
  classifier,
  label,
  judge = 'completion',
  name = label,
}: ClassifierScorerOptions): Scorer {
  if (!classifier.labels.includes(label)) {
    throw new ConfigError({
      where: `scorer ${name}: label`,
      expected: classifier.labels.join(', '),
      received: label,
    });
  }
  return {
    name,
    async score(items) {
      const texts = items.map(({ prompt, completion }) =>
        judge === 'pair' ? ([prompt, completion] as const) : completion,
      );
      return (await classifier.classify(texts)).map(({ scores }) => scores[label]);
    },
    dispose() {},
  };
}
