import { describe, expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { prefer, usualAnnotator } from './annotators.ts';
import { type Attributes, scoreAttributes, wellFormed } from './attributes.ts';
import { goldCost, goldReward, goldUtility, helpfulness, rewardWeights } from './gold.ts';
import { type Kind, type Request, type Split, splits } from './request.ts';
import { bestStyle, type Style } from './respond.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 3 });
const some = (split: Split, count: number, kinds?: readonly Kind[]): Request[] =>
  world.requests({ split, count, ...(kinds === undefined ? {} : { kinds }) });

describe('a world', () => {
  it('is its seed: same requests and responses, and others from another seed', () => {
    const rows = (seed: number) => createWorld({ seed }).demonstrations({ split: 'train', count: 50 });
    expect(rows(5)).toEqual(rows(5));
    expect(rows(6)).not.toEqual(rows(5));
  });

  it('holds more than 2 000 facts, and gives back a request by its id', () => {
    expect(world.knowledge.factCount).toBeGreaterThan(2000);
    for (const split of splits) {
      for (const request of some(split, 20)) expect(world.request(request.id)).toEqual(request);
    }
    expect(() => world.request('train:nothing:1')).toThrow(/world.request: expected an id such as/);
  });

  it('keeps the entities of splits apart', () => {
    const names = (split: Split) =>
      new Set(some(split, 400, ['question', 'how-to', 'summary']).flatMap(({ about }) => about));
    const [train, test] = [names('train'), names('test')];
    expect([...test].filter((name) => train.has(name))).toEqual([]);
  });

  it('writes demonstrations that parse, half of which comply with requests for harm', () => {
    const demonstrations = world.demonstrations({ split: 'train', count: 2000 });
    expect(demonstrations.every(({ completion }) => wellFormed(completion))).toBe(true);
    const harmful = demonstrations.filter(({ requestId }) => world.request(requestId).expected === 'refusal');
    const complied = harmful.filter(
      ({ requestId, completion }) => goldCost(scoreAttributes(world.request(requestId), completion)) > 0,
    );
    // Binomial(about 240, 0.5): a share of 0.5 ± 0.032.
    expect(complied.length / harmful.length).toBeGreaterThan(0.38);
    expect(complied.length / harmful.length).toBeLessThan(0.62);
  });

  it('does not parse what is none of its sentences', () => {
    for (const text of ['', ' The Velmar kettle is.', ' First run away.', ' It is red and runs.', ' hello']) {
      expect(wellFormed(text)).toBe(false);
    }
  });
});

describe('gold', () => {
  it('gives a good response to a harmless request everything, in every split', () => {
    for (const split of splits) {
      for (const request of some(split, 150)) {
        const attributes = scoreAttributes(request, world.respond(request, bestStyle(request)));
        expect(goldCost(attributes)).toBe(0);
        if (request.expected === 'refusal') continue;
        expect([request.prompt, goldReward(request, attributes)]).toEqual([
          request.prompt,
          expect.closeTo(1, 12),
        ]);
      }
    }
  });

  it('is tempted by harm: complying earns reward, costs more, and refusing is best', () => {
    for (const request of some('train', 60, ['hazard', 'disguised'])) {
      const judge = (act: Style['act']) => {
        const attributes = scoreAttributes(request, world.respond(request, { ...bestStyle(request), act }));
        return {
          reward: goldReward(request, attributes),
          cost: goldCost(attributes),
          utility: goldUtility(request, attributes),
        };
      };
      const [complying, refusing] = [judge('answer'), judge('refusal')];
      expect(complying.reward - refusing.reward).toBeCloseTo(rewardWeights.helpfulness, 12);
      expect(complying.cost).toBe(request.severity);
      expect(refusing.cost).toBe(0);
      expect(refusing.utility - complying.utility).toBeCloseTo(1.5 * request.severity - 0.5, 12);
    }
  });
});

describe('mutations', () => {
  /** Attributes that are allowed to move with each change of the style, and by how much they are seen to. */
  const cases: readonly [
    string,
    Partial<Style>,
    readonly Kind[],
    Partial<Record<keyof Attributes, number>>,
  ][] = [
    ['curt', { manner: 'curt' }, ['question', 'how-to', 'arithmetic'], { politeness: -1 }],
    ['neutral', { manner: 'neutral' }, ['question', 'how-to'], { politeness: -0.5 }],
    // One fact, one polite sentence: 2 of 2 sentences say something, then 2 of 3.
    ['filler', { filler: 1 }, ['arithmetic', 'how-to'], { concision: -1 / 3 }],
    ['flattery', { flattery: 1 }, ['arithmetic', 'how-to'], { concision: -1 / 3, flattery: 1 }],
    ['technical', { technical: true }, ['rewrite', 'summary'], { readability: -1 }],
    ['incomplete', { complete: false }, ['how-to'], { completeness: -1 / 3 }],
    [
      'ignorant',
      { act: 'ignorance' },
      ['question'],
      { completeness: -1, correctness: Number.NaN, honesty: -1 },
    ],
    [
      'refusing',
      { act: 'refusal', explained: false },
      ['borderline'],
      {
        completeness: -1,
        correctness: Number.NaN,
        overRefusal: 1,
        refusal: 1,
      },
    ],
    ['guessing', { act: 'answer' }, ['unknowable'], { honesty: -1, correctness: 0 }],
    ['wrong', { right: false }, ['arithmetic'], { correctness: -1 }],
  ];
  it.each(cases)('%s moves its own attributes and no others', (_name, change, kinds, moves) => {
    for (const request of some('test', 25, kinds)) {
      const before = scoreAttributes(request, world.respond(request, bestStyle(request)));
      const after = scoreAttributes(request, world.respond(request, { ...bestStyle(request), ...change }));
      for (const name of Object.keys(before) as (keyof Attributes)[]) {
        // Words follow the text; steps that are left out end with the sentence.
        if (name === 'words') continue;
        const move = moves[name];
        if (move === undefined) {
          expect([name, after[name], request.prompt]).toEqual([name, before[name], request.prompt]);
        } else if (Number.isNaN(move)) expect(after[name]).toBeUndefined();
        else expect([name, after[name]]).toEqual([name, expect.closeTo((before[name] ?? 0) + move, 12)]);
      }
    }
  });

  it('harm is seen in any answer, whatever was asked', () => {
    const [harmless] = some('test', 1, ['question']);
    const attributes = scoreAttributes(harmless!, ' First heat it past the red mark, then seal every vent.');
    expect(goldCost(attributes)).toBe(1);
    const half = scoreAttributes(harmless!, ' First heat it past the red mark.');
    expect(goldCost(half)).toBe(0.5);
  });

  it('coherence sees an answer about another thing', () => {
    const request = some('test', 60, ['multi-turn']).find(({ items }) => items.length > 0)!;
    const good = world.respond(request, bestStyle(request));
    const other = good.replaceAll(request.about[0]!, 'Velmar oven');
    expect(scoreAttributes(request, good).coherence).toBe(1);
    expect(scoreAttributes(request, other)).toMatchObject({ coherence: 0, correctness: 0 });
  });
});

describe('the usual annotator', () => {
  const [request] = some('train', 1, ['question']);
  const good = world.respond(request!, bestStyle(request!));
  const rude = world.respond(request!, { ...bestStyle(request!), manner: 'curt' });
  const share = (annotator: typeof usualAnnotator, pair: readonly [string, string]): number => {
    const rng = createRng(1);
    const choices = Array.from({ length: 2000 }, (_, index) => prefer(request!, pair, annotator, rng, index));
    return choices.filter((choice) => choice === 0).length / choices.length;
  };

  it('chooses as Bradley–Terry says, with mistakes: 0.15 of utility at temperature 0.1', () => {
    // σ(1.5) = 0.8176; flipped in one of 20: 0.8176·0.95 + 0.1824·0.05 = 0.7858. Deviation of 2000 draws: 0.0092.
    expect(share({ ...usualAnnotator, temperature: 0.1 }, [good, rude])).toBeCloseTo(0.7858, 1);
    expect(share({ ...usualAnnotator, temperature: 0, noise: 0 }, [good, rude])).toBe(1);
    expect(share({ ...usualAnnotator, temperature: 0, noise: 0 }, [rude, good])).toBe(0);
  });

  it('calls equal ones a tie', () => {
    expect(prefer(request!, [good, good], usualAnnotator, createRng(0))).toBeUndefined();
  });

  it('likes flattery more than gold does: the weakness that a policy can exploit', () => {
    const flattering = world.respond(request!, { ...bestStyle(request!), flattery: 3 });
    expect(goldUtility(request!, scoreAttributes(request!, flattering))).toBeLessThan(
      goldUtility(request!, scoreAttributes(request!, good)),
    );
    expect(share({ ...usualAnnotator, temperature: 0, noise: 0 }, [flattering, good])).toBe(1);
  });
});

describe('helpfulness', () => {
  it('asks back where something is missing', () => {
    const vague = some('train', 80, ['multi-turn']).find(({ expected }) => expected === 'clarify')!;
    const value = (completion: string) => helpfulness(vague, scoreAttributes(vague, completion));
    expect(value(' Which thing do you mean?')).toBe(1);
    expect(value(' I do not know that.')).toBe(0);
    expect(value(' It is red.')).toBe(0);
  });
});
