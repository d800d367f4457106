/** What every generator keeps, wherever its tokens are made. */
import { expect, it } from 'vitest';
import { createRng } from '../../src/core/rng.ts';
import type { Completion, GenerateOptions, Generator } from '../../src/generate/index.ts';

export interface GeneratorContract {
  readonly create: () => Generator;
  /** log p of each token after the first, by a full forward pass of the model behind it. */
  readonly logProbs: (ids: readonly number[]) => Promise<Float32Array>;
  /** Text of ids. */
  readonly decode: (ids: readonly number[]) => string;
  readonly prompts: readonly (readonly number[])[];
  readonly vocabSize: number;
}

export function generatorContract({ create, logProbs, decode, prompts, vocabSize }: GeneratorContract): void {
  const options: GenerateOptions = {
    ...{
      temperature: 1,
      topK: 0,
      topP: 1,
      maxNewTokens: 10,
      stopIds: new Set<number>(),
      rng: createRng(4),
      decode,
    },
  };
  const generate = async (more: Partial<GenerateOptions> = {}, given = prompts) => {
    const generator = create();
    try {
      return await generator.generate(given, { ...options, ...more });
    } finally {
      generator.dispose();
    }
  };

  it('gives n completions per prompt in order, with the log-probabilities of a full pass', async () => {
    const made = await generate({ n: 2 });
    expect(made).toHaveLength(2 * prompts.length);
    for (const [i, completion] of made.entries()) {
      const prompt = prompts[Math.floor(i / 2)]!;
      const all = await logProbs([...prompt, ...completion.ids]);
      expect(completion.ids).toHaveLength(10);
      expect(completion.finish).toBe('length');
      completion.logProbs.forEach((p, t) => {
        expect(Math.abs(p - all[prompt.length - 1 + t]!)).toBeLessThan(1e-4);
        expect(completion.samplingLogProbs[t]).toBeCloseTo(p, 4);
      });
    }
  });

  it('repeats itself for the same rng, alone or with others, and not for another', async () => {
    const idsOf = (made: Awaited<ReturnType<typeof generate>>): number[][] => made.map(({ ids }) => ids);
    const first = idsOf(await generate());
    expect(idsOf(await generate())).toEqual(first);
    expect(idsOf(await generate({ keys: [1] }, [prompts[1]!]))).toEqual([first[1]]);
    expect(idsOf(await generate({ rng: createRng(5) }))).not.toEqual(first);
  });

  it('takes the likeliest token at temperature 0, with sampling log-probability 0', async () => {
    const [completion] = await generate({ temperature: 0, n: 1 });
    const ids = [...prompts[0]!, ...completion!.ids];
    // No other token in the place of the last one is likelier.
    const own = (await logProbs(ids)).at(-1)!;
    for (const other of [3, 40, 70, 100, 200, 299]) {
      expect((await logProbs([...ids.slice(0, -1), other])).at(-1)!).toBeLessThanOrEqual(own + 1e-5);
    }
    expect(completion!.samplingLogProbs).toEqual(new Array(10).fill(0));
  });

  it('ends at a stop token, which is its last, and with a stop text', async () => {
    const [whole] = await generate({ temperature: 0 });
    const stopId = whole!.ids[4]!;
    const at = whole!.ids.indexOf(stopId);
    const [stopped] = await generate({ temperature: 0, stopIds: new Set([stopId]) });
    expect(stopped).toMatchObject({ ids: whole!.ids.slice(0, at + 1), finish: 'stop', stop: stopId });
    const biased = { temperature: 0, logitBias: new Map([[70, 100]]) };
    const text = decode([70, 70]);
    const [ended] = await generate({ ...biased, stopTexts: [text] });
    expect(ended).toMatchObject({ ids: [70, 70], finish: 'stop', stop: text });
  });

  it('gives the entropy of the whole distribution, not of the truncated and tempered one', async () => {
    const events: (number | undefined)[] = [];
    const [completion] = await generate(
      { entropy: true, temperature: 0.5, topK: 2, onToken: ({ entropy }) => events.push(entropy) },
      [prompts[0]!],
    );
    const { ids, entropies } = completion!;
    expect(entropies).toHaveLength(ids.length);
    expect(events).toEqual(entropies);
    const before = [...prompts[0]!, ...ids.slice(0, 3)];
    let entropy = 0;
    for (let token = 0; token < vocabSize; token++) {
      const p = (await logProbs([...before, token])).at(-1)!;
      entropy -= Math.exp(p) * p;
    }
    expect(Math.abs(entropies![3]! - entropy)).toBeLessThan(1e-4);
    expect((await generate())[0]!.entropies).toBeUndefined();
  });

  it('gives a prompt its own sampling options', async () => {
    const made = await generate({
      perPrompt: (index) => (index === 1 ? { logitBias: new Map([[70, 100]]), maxNewTokens: 7 } : {}),
    });
    expect(made[1]!.ids).toEqual(new Array(7).fill(70));
    expect(made[0]!.ids).not.toEqual(made[1]!.ids);
  });

  it('tells of every token, of the end with the last, and of whole completions', async () => {
    const seen = new Map<number, number[]>();
    let counted = 0;
    const ends: number[] = [];
    const whole = new Map<number, readonly Completion[]>();
    let telling = false;
    const made = await generate({
      onToken: ({ promptIndex, id, finish }) => {
        seen.set(promptIndex, [...(seen.get(promptIndex) ?? []), id]);
        if (finish !== undefined) ends.push(promptIndex);
      },
      onTokens: (count) => {
        counted += count;
      },
      onCompletions: async (promptIndex, completions) => {
        // What is awaited is not called again meanwhile.
        expect(telling).toBe(false);
        telling = true;
        await new Promise((resolve) => setTimeout(resolve, 5));
        whole.set(promptIndex, completions);
        telling = false;
      },
    });
    expect(prompts.map((_, index) => whole.get(index)?.[0])).toEqual(made);
    made.forEach(({ ids }, index) => {
      expect(seen.get(index)).toEqual(ids);
    });
    expect(counted).toBe(10 * prompts.length);
    expect(ends.toSorted()).toEqual(prompts.map((_, index) => index));
  });
}
