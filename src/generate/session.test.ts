import { afterAll, describe, expect, it } from 'vitest';
import { tinyModel } from '../../test/support/tiny-model.ts';
import { createRng } from '../core/rng.ts';
import { createOrtEngine } from '../engine/ort/ort-engine.ts';
import { createGenerator } from './generate.ts';
import { createSession, type GeneratorSession, type RequestOptions } from './session.ts';

const engine = createOrtEngine({ threads: 1 });
afterAll(() => engine.dispose());
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const options: RequestOptions = {
  temperature: 1,
  topK: 0,
  topP: 1,
  maxNewTokens: 12,
  stopIds: new Set([5]),
  rng: createRng(2),
};
const prompts = [[1], [3, 7, 2], [4, 4, 4, 4, 9, 11], [8, 20], [2, 2]];

async function withSession(
  use: (session: GeneratorSession) => Promise<void>,
  more: {
    readonly slots?: number;
    readonly head_dim?: number;
    readonly maxTokens?: number;
    readonly speculate?: number;
  } = {},
): Promise<void> {
  const session = createSession({
    engine,
    ...tinyModel(4, { head_dim: more.head_dim ?? 8 }),
    slots: more.slots ?? 3,
    maxTokens: more.maxTokens,
    speculate: more.speculate,
    pause,
  });
  try {
    await use(session);
  } finally {
    await session.dispose();
  }
}

describe('session', () => {
  it('gives each request what a generator gives it alone, with requests joining while others run', async () => {
    for (const head_dim of [4, 8]) {
      const generator = createGenerator({ engine, ...tinyModel(4, { head_dim }) });
      const wanted: number[][] = [];
      for (const prompt of prompts) {
        const completions = await generator.generate([prompt], { ...options, n: 2 });
        wanted.push(...completions.map(({ ids }) => ids));
      }
      generator.dispose();
      await withSession(
        async (session) => {
          const made: number[][] = [];
          const requests = [];
          for (const prompt of prompts) {
            requests.push(session.add(prompt, { ...options, n: 2 }));
            await pause();
          }
          for (const { completions } of requests) made.push(...(await completions).map(({ ids }) => ids));
          expect(made).toEqual(wanted);
          expect([session.active, session.waiting]).toEqual([0, 0]);
        },
        { head_dim },
      );
    }
  });

  it('frees the slot of a withdrawn row, and lets the waiting one in', async () => {
    await withSession(
      async (session) => {
        const endless = { ...options, stopIds: new Set<number>(), maxNewTokens: 60 };
        let seen = 0;
        const first = session.add([1], {
          ...endless,
          onToken: () => {
            if (++seen === 3) first.cancel();
          },
        });
        const second = session.add([2], { ...endless, maxNewTokens: 4 });
        expect((await first.completions)[0]!.ids).toHaveLength(3);
        expect((await second.completions)[0]!.ids).toHaveLength(4);
        expect(session.active).toBe(0);
      },
      { slots: 1 },
    );
  });

  it('withdraws one sample of several, and one that still waits', async () => {
    await withSession(
      async (session) => {
        const request = session.add([1], { ...options, n: 3, stopIds: new Set(), maxNewTokens: 5 });
        request.cancel(2);
        const lengths = (await request.completions).map(({ ids }) => ids.length);
        expect(lengths).toEqual([5, 5, 0]);
      },
      { slots: 1 },
    );
  });

  it('rejects the request whose callback throws, and goes on with the others', async () => {
    await withSession(async (session) => {
      const bad = session.add([1], {
        ...options,
        onToken: () => {
          throw new Error('no reader');
        },
      });
      const good = session.add([3], { ...options, stopIds: new Set(), maxNewTokens: 6 });
      await expect(bad.completions).rejects.toThrow('no reader');
      expect((await good.completions)[0]!.ids).toHaveLength(6);
      expect(session.active).toBe(0);
    });
  });

  it('ends at its own context, refuses what has no room, and rejects what is open when disposed', async () => {
    await withSession(
      async (session) => {
        const request = session.add([1, 2, 3], { ...options, stopIds: new Set(), maxNewTokens: 100 });
        // 3 tokens of the prompt and 5 new ones fill a context of 8.
        expect((await request.completions)[0]).toMatchObject({ finish: 'length', ids: { length: 5 } });
        expect(() => session.add([1, 2, 3, 4, 5, 6, 7, 8], options)).toThrow(
          /at most 7 tokens.*received 8 tokens/,
        );
        const open = session.add([1], { ...options, stopIds: new Set(), maxNewTokens: 100 });
        await session.dispose();
        await expect(open.completions).rejects.toThrow(/disposed/);
        expect(() => session.add([1], options)).toThrow(/disposed/);
      },
      { maxTokens: 8 },
    );
  });

  it('guesses while a row is alone, and gives each the completion of plain sampling, up to the end of its room', async () => {
    const given = [
      [3, 7, 2, 3, 7, 2, 3],
      [4, 4, 4, 4, 9, 11],
      [8, 20],
    ];
    for (const head_dim of [4, 8]) {
      const generator = createGenerator({ engine, ...tinyModel(4, { head_dim }) });
      const all = { ...options, maxNewTokens: 60, stopIds: new Set<number>() };
      const wanted: (readonly number[])[] = [];
      const logProbs: (readonly number[])[] = [];
      for (const prompt of given) {
        const [completion] = await generator.generate([prompt], all);
        wanted.push(completion!.ids);
        logProbs.push(completion!.logProbs);
      }
      generator.dispose();
      await withSession(
        async (session) => {
          const add = (prompt: readonly number[]) => session.add(prompt, all);
          for (const [i, prompt] of given.entries()) {
            const [alone] = await add(prompt).completions;
            // 64 positions: prompt and completion together.
            expect(alone!.ids).toEqual(wanted[i]!.slice(0, 64 - prompt.length));
            for (const [t, p] of alone!.logProbs.entries())
              expect(Math.abs(p - logProbs[i]![t]!)).toBeLessThan(1e-4);
          }
          const { guessed, kept } = session.speculated;
          expect(guessed).toBeGreaterThan(20);
          expect(kept).toBeGreaterThan(2);
          expect(kept).toBeLessThan(guessed);
          // Others join in the middle, and what was alone is alone again at its end.
          const first = add(given[0]!);
          for (let i = 0; i < 3; i++) await pause();
          const others = given.slice(1).map((prompt) => session.add(prompt, { ...all, maxNewTokens: 4 }));
          expect((await first.completions)[0]!.ids).toEqual(wanted[0]!.slice(0, 57));
          for (const [i, { completions }] of others.entries())
            expect((await completions)[0]!.ids).toEqual(wanted[i + 1]!.slice(0, 4));
          // One that is withdrawn by its own callback takes no token more, and frees its slot. Greedy text repeats itself, so
          // that it is among guesses that are right.
          const greedy = { ...all, temperature: 0 };
          const whole = (await session.add(given[0]!, greedy).completions)[0]!.ids;
          for (let count = 20; count < 28; count++) {
            const seen: number[] = [];
            const withdrawn = session.add(given[0]!, {
              ...greedy,
              onToken: ({ id }) => {
                if (seen.push(id) === count) withdrawn.cancel();
              },
            });
            await withdrawn.completions;
            expect(seen).toEqual(whole.slice(0, count));
          }
          expect(session.active).toBe(0);
        },
        { head_dim, maxTokens: 64, speculate: 4 },
      );
    }
  });
});
