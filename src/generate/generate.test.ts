import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createInterpreter } from '../engine/interpreter.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { createOrtNodeEngine } from '../engine/ort-node/ort-node-engine.ts';
import { sequenceLogProbs } from '../parts/reference.ts';
import { type Completion, createGenerator, type GenerateOptions, type TokenEvent } from './generate.ts';
import { completionText } from './stop-text.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const { model, parameters } = tinyModel();
const options: GenerateOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 12,
  stopIds: new Set([5]),
  rng: createRng(2),
};
const prompts = [[1], [3, 7, 2], [4, 4, 4, 4, 9, 11], [8, 20]];

describe('generate', () => {
  it('gives the log-probabilities of a full forward pass, through prefill and cache', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const completions = await generator.generate(prompts, options);
    const sequences = completions.map(({ ids }, i) => ({
      ids: [...prompts[i]!, ...ids],
      mask: [...prompts[i]!.map(() => 0), ...ids.map(() => 1)],
    }));
    const scores = await sequenceLogProbs(sequences, { engine, model, parameters, batchSize: 4, bucket: 8 });
    completions.forEach(({ logProbs }, i) => {
      expect(logProbs.reduce((total, p) => total + p, 0)).toBeCloseTo(scores[i]!, 4);
    });
    generator.dispose();
  });

  it('gives a prompt the same completion alone, in a batch and in another order', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const together = await generator.generate(prompts, options);
    const apart = await generator.generate(prompts, { ...options, batchSize: 1 });
    expect(apart.map(({ ids }) => ids)).toEqual(together.map(({ ids }) => ids));
    generator.dispose();
  });

  it('gives log-probabilities of a full pass with slots, samples, in-place caches and packed weights', async () => {
    for (const head_dim of [4, 8]) {
      for (const prepack of [false, true]) {
        const { model, parameters } = tinyModel(4, { head_dim });
        expect(model.inPlaceCache).toBe(head_dim === 8);
        const generator = createGenerator({ engine, model, parameters, prepack });
        const many = { ...options, n: 3, batchSize: 4, temperature: 0.7 };
        const completions = await generator.generate(prompts, many);
        const sequences = completions.map(({ ids }, i) => ({
          ids: [...prompts[Math.floor(i / 3)]!, ...ids],
          mask: [...prompts[Math.floor(i / 3)]!.map(() => 0), ...ids.map(() => 1)],
        }));
        const scoring = { engine, model, parameters, batchSize: 4, bucket: 8 };
        const scores = await sequenceLogProbs(sequences, scoring);
        expect(completions.length).toBe(12);
        completions.forEach(({ logProbs }, i) => {
          expect(Math.abs(logProbs.reduce((total, p) => total + p, 0) - scores[i]!)).toBeLessThan(1e-4);
        });
        generator.dispose();
      }
    }
  });

  it('reads the weights as they are at each call, packed or not', async () => {
    for (const prepack of [false, true]) {
      const { model, parameters } = tinyModel(4, { head_dim: 8 });
      const generator = createGenerator({ engine, model, parameters, prepack });
      const before = await generator.generate(prompts, options);
      expect(await generator.generate(prompts, options)).toEqual(before);
      const embedding = parameters.arrays()['model.embed_tokens.weight'] as Float32Array;
      for (let i = 0; i < embedding.length; i++) embedding[i] = -embedding[i]!;
      const after = await generator.generate(prompts, options);
      const fresh = createGenerator({ engine, model, parameters, prepack: false });
      const wanted = await fresh.generate(prompts, options);
      expect(after.map(({ ids }) => ids)).toEqual(wanted.map(({ ids }) => ids));
      expect(after.map(({ ids }) => ids)).not.toEqual(before.map(({ ids }) => ids));
      generator.dispose();
      fresh.dispose();
    }
  });

  it('takes up what earlier prompts and calls left: layouts by the dozen, calls at the same time, a failure', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8, max_position_embeddings: 512 });
    const random = createRng(9);
    // Two prompts are computed at a time: more layouts than programs are kept.
    const many = Array.from({ length: 28 }, (_, row) =>
      Array.from({ length: 8 * (row + 1 - (row % 2)) }, (_, t) => random.integer(20, row, t)),
    );
    const few = { ...options, maxNewTokens: 3, batchSize: 2, stopIds: new Set<number>() };
    const wanted: Completion[] = [];
    for (const [row, prompt] of many.entries()) {
      const fresh = createGenerator({ engine, model, parameters });
      wanted.push(...(await fresh.generate([prompt], { ...few, keys: [row] })));
      fresh.dispose();
    }
    const ids = (all: readonly Completion[]): number[][] => all.map((one) => one.ids);
    const generator = createGenerator({ engine, model, parameters });
    const onTokens = (): void => {
      throw new Error('enough');
    };
    await expect(generator.generate(many, { ...few, onTokens })).rejects.toThrow('enough');
    for (let call = 0; call < 2; call++)
      expect(ids(await generator.generate(many, few))).toEqual(ids(wanted));
    const both = await Promise.all([generator.generate(many, few), generator.generate(many, few)]);
    for (const all of both) expect(ids(all)).toEqual(ids(wanted));
    generator.dispose();
  });

  it('computes prompts that are too long together in several passes', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8, max_position_embeddings: 1024 });
    const random = createRng(10);
    const long = [900, 30, 1000, 950, 800, 1000].map((length, row) =>
      Array.from({ length }, (_, t) => random.integer(20, row, t)),
    );
    const few = { ...options, maxNewTokens: 4, stopIds: new Set<number>() };
    const generator = createGenerator({ engine, model, parameters });
    const together = await generator.generate(long, few);
    const apart = await generator.generate(long, { ...few, batchSize: 1 });
    expect(together.map(({ ids }) => ids)).toEqual(apart.map(({ ids }) => ids));
    generator.dispose();
  });

  it('does not look at packed weights again when they are said to be frozen', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8 });
    const generator = createGenerator({ engine, model, parameters, prepack: true, frozen: true });
    const greedy = { ...options, temperature: 0, maxNewTokens: 2 };
    await generator.generate(prompts, greedy);
    const embedding = parameters.arrays()['model.embed_tokens.weight'] as Float32Array;
    const changed = embedding.map((x) => -x);
    embedding.set(changed);
    const after = await generator.generate(prompts, greedy);
    // The first token comes from the prompt, which reads live weights; the second from packed ones.
    const logProbs = (all: readonly Completion[]) => all.map((one) => one.logProbs[1]);
    const packed = createGenerator({ engine, model, parameters, prepack: true });
    expect(logProbs(await packed.generate(prompts, greedy))).not.toEqual(logProbs(after));
    generator.dispose();
    packed.dispose();
  });

  it('gives a sample the same completion whatever n, the slots, the order and the neighbours are', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8 });
    const generator = createGenerator({ engine, model, parameters });
    const idsOf = async (given: number[][], more: Partial<GenerateOptions>): Promise<number[][]> =>
      (await generator.generate(given, { ...options, ...more })).map(({ ids }) => ids);
    const wanted = await idsOf(prompts, { n: 3 });
    expect(new Set(wanted.map(String)).size).toBeGreaterThan(8);
    for (const batchSize of [1, 2, 3, 5, 12])
      expect(await idsOf(prompts, { n: 3, batchSize })).toEqual(wanted);
    // Sample 0 is the completion without samples.
    expect(await idsOf(prompts, {})).toEqual([0, 3, 6, 9].map((at) => wanted[at]));
    const reversed = await idsOf([...prompts].reverse(), { n: 3, keys: [3, 2, 1, 0] });
    expect(reversed).toEqual([9, 6, 3, 0].flatMap((at) => wanted.slice(at, at + 3)));
    generator.dispose();
  });

  it('gives the same completions on every engine, which share the cache memory or copy it', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8 });
    const all: number[][][] = [];
    for (const other of [engine, createOrtNodeEngine({ threads: 1 }), createInterpreter()]) {
      const generator = createGenerator({ engine: other, model, parameters });
      const completions = await generator.generate(prompts, { ...options, n: 2, batchSize: 3 });
      all.push(completions.map(({ ids }) => ids));
      generator.dispose();
      if (other !== engine) other.dispose();
    }
    expect(all[1]).toEqual(all[0]);
    expect(all[2]).toEqual(all[0]);
  });

  it('reports tokens as they come, entropies and the likeliest tokens', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const events: TokenEvent[] = [];
    let made = 0;
    const completions = await generator.generate(prompts, {
      ...options,
      n: 2,
      batchSize: 3,
      entropy: true,
      topLogProbs: 24,
      onToken: (event) => events.push(event),
      onTokens: (tokens) => {
        made += tokens;
      },
    });
    expect(made).toBe(events.length);
    completions.forEach((completion, i) => {
      const own = events.filter((e) => e.promptIndex * 2 + e.sampleIndex === i);
      expect(own.map(({ id }) => id)).toEqual(completion.ids);
      expect(own.map(({ position }) => position)).toEqual([...completion.ids.keys()]);
      expect(own.map(({ logProb }) => logProb)).toEqual(completion.logProbs);
      expect(own.map(({ finish }) => finish)).toEqual([
        ...completion.ids.slice(1).map(() => undefined),
        completion.finish,
      ]);
      // At temperature 1 without truncation the two distributions are one.
      completion.samplingLogProbs.forEach((p, t) => {
        expect(p).toBeCloseTo(completion.logProbs[t]!, 5);
      });
      completion.topLogProbs!.forEach((top, t) => {
        expect(top.find(({ id }) => id === completion.ids[t])!.logProb).toBe(completion.logProbs[t]);
        expect(top.reduce((sum, { logProb }) => sum + Math.exp(logProb), 0)).toBeCloseTo(1, 5);
        const entropy = -top.reduce((sum, { logProb }) => sum + Math.exp(logProb) * logProb, 0);
        expect(completion.entropies![t]).toBeCloseTo(entropy, 6);
        expect(top[0]!.logProb).toBeGreaterThanOrEqual(top[1]!.logProb);
      });
    });
    generator.dispose();
  });

  it('takes options per prompt: greedy for one, forbidden and forced tokens for others', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const common = { ...options, stopIds: new Set<number>() };
    const completions = await generator.generate(prompts, {
      ...common,
      perPrompt: (index) =>
        [{ temperature: 0 }, { logitBias: new Map([[7, 1000]]) }, { topK: 1 }, {}][index]!,
    });
    const [greedy] = await generator.generate([prompts[0]!], { ...common, temperature: 0 });
    expect(completions[0]!.ids).toEqual(greedy!.ids);
    expect(completions[0]!.samplingLogProbs).toEqual(completions[0]!.ids.map(() => 0));
    expect(completions[1]!.ids).toEqual(new Array(12).fill(7));
    expect(completions[2]!.samplingLogProbs).toEqual(new Array(12).fill(0));
    expect(completions[2]!.logProbs[0]).toBeLessThan(0);
    generator.dispose();
  });

  it('ends at a text that several tokens make, and not before minNewTokens', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const decode = (ids: readonly number[]): string => ids.map((id) => String.fromCharCode(97 + id)).join('');
    const free = { ...options, stopIds: new Set<number>() };
    const [whole] = await generator.generate([[3]], free);
    const text = decode(whole!.ids).slice(4, 6);
    const stopping = { ...free, decode, stopTexts: ['zzz', text] };
    const [stopped] = await generator.generate([[3]], stopping);
    const end = decode(whole!.ids).indexOf(text) + 2;
    expect(stopped).toMatchObject({ ids: whole!.ids.slice(0, end), finish: 'stop', stop: text });
    const stopAlways = { ...options, stopIds: new Set(Array.from({ length: 23 }, (_, id) => id)) };
    const [late] = await generator.generate([[3]], { ...stopAlways, minNewTokens: 4 });
    expect(late!.ids.slice(0, 3)).toEqual([23, 23, 23]); // the only token that stops nothing
    generator.dispose();
  });

  it('does not end at a stop text that was there before minNewTokens', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const decode = (ids: readonly number[]): string => ids.map((id) => String.fromCharCode(97 + id)).join('');
    const forced = { ...options, stopIds: new Set<number>(), logitBias: new Map([[7, 1000]]), decode };
    const [made] = await generator.generate([[3]], { ...forced, stopTexts: ['hh'], minNewTokens: 5 });
    // 'hhhhh': the last two letters are the first stop text that a token from the fifth on completes.
    expect(made).toMatchObject({ ids: [7, 7, 7, 7, 7], stop: 'hh' });
    expect(completionText(made!, decode)).toBe('hhh');
    const [free] = await generator.generate([[3]], { ...options, stopIds: new Set<number>(), decode });
    const [early] = [decode(free!.ids).slice(0, 2)];
    const later = { ...options, stopIds: new Set<number>(), decode, stopTexts: [early!], minNewTokens: 3 };
    const [passed] = await generator.generate([[3]], later);
    const second = decode(free!.ids).indexOf(early!, 1);
    expect(passed!.ids).toEqual(second < 0 ? free!.ids : free!.ids.slice(0, second + 2));
    generator.dispose();
  });

  it('gives single prompts their own lengths, stop tokens and stop texts', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const decode = (ids: readonly number[]): string => ids.map((id) => String.fromCharCode(97 + id)).join('');
    const free = { ...options, stopIds: new Set<number>(), decode };
    const whole = await generator.generate(prompts, free);
    const made = await generator.generate(prompts, {
      ...free,
      perPrompt: (index) =>
        [
          { maxNewTokens: 3 },
          { stopIds: new Set([whole[1]!.ids[4]!]) },
          { stopTexts: [decode(whole[2]!.ids).slice(4, 6)] },
          { maxNewTokens: 20 },
        ][index]!,
    });
    expect(made[0]).toMatchObject({ ids: whole[0]!.ids.slice(0, 3), finish: 'length' });
    expect(made[1]).toMatchObject({
      ids: whole[1]!.ids.slice(0, whole[1]!.ids.indexOf(whole[1]!.ids[4]!) + 1),
    });
    expect(made[2]!.stop).toBe(decode(whole[2]!.ids).slice(4, 6));
    expect(made[3]!.ids.slice(0, 12)).toEqual(whole[3]!.ids);
    expect(made[3]!.ids).toHaveLength(20);
    generator.dispose();
  });

  it('hands over the completions of a prompt when all have ended, and waits', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const seen: [number, readonly Completion[]][] = [];
    let busy = false;
    const all = await generator.generate(prompts, {
      ...options,
      n: 2,
      batchSize: 3,
      onCompletions: async (index, completions) => {
        expect(busy).toBe(false);
        busy = true;
        await new Promise((resolve) => setImmediate(resolve));
        busy = false;
        seen.push([index, completions]);
      },
      onTokens: () => expect(busy).toBe(false),
    });
    expect(seen.map(([index]) => index).sort()).toEqual([0, 1, 2, 3]);
    for (const [index, completions] of seen) expect(completions).toEqual(all.slice(2 * index, 2 * index + 2));
    const stop = (): Promise<void> => Promise.reject(new Error('enough'));
    await expect(generator.generate(prompts, { ...options, onTokens: stop })).rejects.toThrow('enough');
    generator.dispose();
  });

  it('draws the same numbers for a token whatever the batch is, and changes log-probabilities by rounding only', async () => {
    const { model, parameters } = tinyModel(4, { head_dim: 8 });
    const generator = createGenerator({ engine, model, parameters });
    const record = async (more: Partial<GenerateOptions>, order = [0, 1, 2, 3]) => {
      const draws = new Map<string, number>();
      const rng = {
        ...options.rng,
        uniform: (...at: number[]) => {
          const u = options.rng.uniform(...at);
          draws.set(String(at), u);
          return u;
        },
      };
      const given = order.map((index) => prompts[index]!);
      const made = await generator.generate(given, { ...options, rng, n: 2, keys: order, ...more });
      return {
        draws: [...draws].sort(),
        made: order.map((_, i) => made.slice(2 * order.indexOf(i), 2 * order.indexOf(i) + 2)),
      };
    };
    const first = await record({ batchSize: 8 });
    expect(first.draws.length).toBeGreaterThan(40);
    for (const [batchSize, order] of [
      [1, [0, 1, 2, 3]],
      [3, [2, 0, 3, 1]],
      [5, [3, 2, 1, 0]],
    ] as const) {
      const other = await record({ batchSize }, [...order]);
      expect(other.draws).toEqual(first.draws);
      other.made.flat().forEach(({ logProbs, samplingLogProbs }, i) => {
        const wanted = first.made.flat()[i]!;
        for (const [t, p] of logProbs.entries()) {
          expect(Math.abs(p - wanted.logProbs[t]!)).toBeLessThan(1e-5);
          expect(Math.abs(samplingLogProbs[t]! - wanted.samplingLogProbs[t]!)).toBeLessThan(1e-5);
        }
      });
    }
    generator.dispose();
  });

  it('stops at weights that are not numbers, and works again afterwards', async () => {
    const { model, parameters } = tinyModel(4);
    const generator = createGenerator({ engine, model, parameters });
    const wanted = await generator.generate(prompts, options);
    const norm = parameters.arrays()['model.norm.weight'] as Float32Array;
    const kept = norm.slice();
    norm.fill(Number.NaN);
    for (const temperature of [0, 1]) {
      const call = generator.generate(prompts, { ...options, temperature });
      await expect(call).rejects.toThrow(/token 1\): expected logits that are numbers, received NaN/);
    }
    norm.set(kept);
    expect(await generator.generate(prompts, options)).toEqual(wanted);
    generator.dispose();
  });

  it('refuses options out of range', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const refuses = (more: Partial<GenerateOptions>, message: RegExp) =>
      expect(generator.generate(prompts, { ...options, ...more })).rejects.toThrow(message);
    await refuses({ n: 0 }, /generate\(n\): expected a positive integer, received 0/);
    await refuses({ temperature: -1 }, /generate\(temperature\): expected 0 or more/);
    await refuses({ minP: 2 }, /generate\(minP\): expected 0 to 1/);
    await refuses({ stopTexts: ['x'] }, /generate\(stopTexts\): expected a function `decode`/);
    await refuses(
      { perPrompt: () => ({ logitBias: new Map([[24, 1]]) }) },
      /token ids below 24, received 24/,
    );
    generator.dispose();
  });

  it('stops at a stop token, at the length and at the context', async () => {
    const generator = createGenerator({ engine, model, parameters });
    const all = await generator.generate(prompts, { ...options, maxNewTokens: 1000 });
    for (const [i, { ids, finish }] of all.entries()) {
      if (finish === 'stop') expect(ids.indexOf(5)).toBe(ids.length - 1);
      else expect(prompts[i]!.length + ids.length).toBe(model.maxPositions);
    }
    const [short] = await generator.generate([[1]], { ...options, maxNewTokens: 3, stopIds: new Set() });
    expect(short).toMatchObject({ finish: 'length', ids: { length: 3 } });
    generator.dispose();
  });

  it('refuses an empty prompt and one that fills the context', async () => {
    const generator = createGenerator({ engine, model, parameters });
    await expect(generator.generate([[1], []], options)).rejects.toThrow(/prompt 2: expected 1 to 63 tokens/);
    await expect(generator.generate([new Array(64).fill(1)], options)).rejects.toThrow(/received 64 tokens/);
    generator.dispose();
  });
});
