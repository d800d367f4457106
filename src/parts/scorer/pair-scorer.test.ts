import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../../test/support/tiny-model.ts';
import { createRng } from '../../core/rng.ts';
import { createOrtEngine } from '../../engine/ort/ort-engine.ts';
import { scoreModelFrom } from '../../models/score-model.ts';
import { scoreForward } from '../forward.ts';
import { joinedPair, pairScorer, preferenceLogit } from './pair-scorer.ts';
import type { ScoreItem } from './scorer.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());

describe('preferenceLogit', () => {
  it('is the worked example, and turned around with the pair', () => {
    // P = ½·(0.880797 + 1 − 0.731059) = 0.574869
    expect(preferenceLogit(2, 1)).toBeCloseTo(Math.log(0.574869 / 0.425131), 5);
    expect(preferenceLogit(1, 2)).toBeCloseTo(-preferenceLogit(2, 1), 12);
    expect(preferenceLogit(3, -3)).toBeCloseTo(3, 12);
    expect(preferenceLogit(5, 5)).toBe(0);
  });
  it('is finite where the model is sure', () => {
    expect(preferenceLogit(900, -900)).toBeCloseTo(900, 9);
    expect(preferenceLogit(-900, 900)).toBeCloseTo(-900, 9);
    expect(preferenceLogit(900, 900)).toBe(0);
  });
});

const prompt = [1, 14];
const item = (completionIds: number[], group?: number, promptIds = prompt): ScoreItem => ({
  ...{ prompt: '', completion: '', promptIds, completionIds },
  ...(group !== undefined && { group }),
});
const scorer = (maxPositions = 64) => {
  const loaded = scoreModelFrom(tinyModel(4, { max_position_embeddings: maxPositions }), {
    rng: createRng(1),
  });
  const forward = { engine, ...loaded, batchSize: 4, bucket: 4 };
  return { forward, scorer: pairScorer({ ...forward, name: 'pairs', stopId: 2 }) };
};

describe('pairScorer', () => {
  const [a, b, c] = [
    [5, 6, 2],
    [7, 8],
    [9, 2],
  ] as [number[], number[], number[]];

  it('gives a pair scores whose difference is its logit', async () => {
    const { forward, scorer: pairs } = scorer();
    const [of, other] = await pairs.score([item(a), item(b)]);
    const read = scoreForward(forward);
    // The stop token stands after b too.
    const [inOrder, reversed] = await read.run([
      [...prompt, 5, 6, 2, 7, 8, 2],
      [...prompt, 7, 8, 2, 5, 6, 2],
    ]);
    read.dispose();
    pairs.dispose();
    const logit = preferenceLogit(inOrder![0]!, reversed![0]!);
    expect(Math.abs(logit)).toBeGreaterThan(1e-4);
    expect(of! - other!).toBeCloseTo(logit, 6);
    expect(of! + other!).toBeCloseTo(0, 9);
  });

  it('averages the logits of a group, whatever the order of its members; numbers tell groups of one prompt apart', async () => {
    const { scorer: pairs } = scorer();
    const of = async (...items: ScoreItem[]) => (await pairs.score(items)) as number[];
    const [ab, ba] = await of(item(a), item(b));
    const [ac, ca] = await of(item(a), item(c));
    const three = await of(item(a), item(b), item(c));
    expect(three[0]!).toBeCloseTo((ab! - ba! + ac! - ca!) / 3, 6);
    expect(three.reduce((sum, x) => sum + x, 0)).toBeCloseTo(0, 6);
    const turned = await of(item(c), item(a), item(b));
    for (const [at, to] of [
      [0, 1],
      [1, 2],
      [2, 0],
    ] as const)
      expect(turned[to]!).toBeCloseTo(three[at]!, 6);
    const apart = await of(item(a, 0), item(b, 0), item(a, 1), item(c, 1));
    expect(apart[0]! - apart[1]!).toBeCloseTo(ab! - ba!, 6);
    expect(apart[2]! - apart[3]!).toBeCloseTo(ac! - ca!, 6);
    pairs.dispose();
  });

  it('cannot score what is alone or does not fit twice into the context', async () => {
    const { scorer: pairs } = scorer(16);
    const long = Array.from({ length: 7 }, () => 5);
    expect(await pairs.score([item(a)])).toEqual([undefined]);
    const scores = await pairs.score([item(long), item(a), item(b), item(c, undefined, [1, 15])]);
    expect(scores.map((score) => score === undefined)).toEqual([true, false, false, true]);
    pairs.dispose();
  });

  it('asks for a score head and a stop token', () => {
    const { forward } = scorer();
    expect(() => pairScorer({ ...forward, name: 'x', stopId: undefined })).toThrow(/stop token.*without/);
    expect(() => pairScorer({ ...forward, ...tinyModel(4), name: 'x', stopId: 2 })).toThrow(
      /a language model/,
    );
  });
});

it('joins a pair with a stop token after each side, once', () => {
  expect(joinedPair([1], [5, 2], [6], 2)).toEqual([1, 5, 2, 6, 2]);
});
