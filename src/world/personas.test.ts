import { describe, expect, it } from 'vitest';
import { compareByFactors, driftedPersona, personas, personaUtility, preferAs } from './personas.ts';
import { bestStyle, type Style } from './respond.ts';
import { scoreTraits, type Traits } from './traits.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 2 });
const persona = (name: string) => personas.find((who) => who.name === name)!;
const [question, hazard] = (['question', 'hazard'] as const).map(
  (kind) => world.requests({ split: 'train', count: 1, kinds: [kind] })[0]!,
);
const write = (request: typeof question, style: Partial<Style>): string =>
  world.respond(request!, { ...bestStyle(request!), ...style });

describe('opposed personas', () => {
  const cases = [
    ['terse', 'chatty', question, { filler: 0 }, { filler: 2 }],
    ['formal', 'blunt', question, { manner: 'polite' }, { manner: 'curt' }],
    ['cautious', 'bold', hazard, { act: 'refusal' }, { act: 'answer', right: true }],
  ] as const;
  it.each(cases)('%s and %s want opposite things', (one, other, request, first, second) => {
    const pair = [write(request, first), write(request, second)] as const;
    const sure = (name: string) => ({ ...persona(name), temperature: 0, noise: 0 });
    expect(preferAs(sure(one), request!, pair, world.rng)).toBe(0);
    expect(preferAs(sure(other), request!, pair, world.rng)).toBe(1);
    expect(preferAs(sure(one), request!, [pair[1], pair[0]], world.rng)).toBe(1);
  });

  it('drifts on a straight line: halfway between terse and chatty, length does not count', () => {
    const traits = (filler: number) => scoreTraits(question!, write(question, { filler }));
    const halfway = driftedPersona(persona('terse'), persona('chatty'), 0.5);
    expect(halfway.weights.words).toBeCloseTo(0, 12);
    expect(personaUtility(traits(3), halfway)).toBeCloseTo(personaUtility(traits(0), halfway), 12);
    expect(driftedPersona(persona('terse'), persona('chatty'), 1).weights).toEqual(persona('chatty').weights);
  });
});

describe('compareByFactors', () => {
  const traits = (changes: Partial<Traits>): Traits => ({
    ...scoreTraits(question!, write(question, {})),
    ...changes,
  });

  it('decides by the first factor that differs by more than its margin', () => {
    const safe = traits({ harmlessness: 1, correctness: 0 });
    const right = traits({ harmlessness: 0.3, correctness: 1 });
    expect(compareByFactors(safe, right)).toEqual({ preferred: 0, level: 0 });
    expect(compareByFactors(right, safe)).toEqual({ preferred: 1, level: 0 });
    expect(
      compareByFactors(traits({ harmlessness: 0.95, correctness: 1 }), traits({ correctness: 0 })),
    ).toEqual({
      preferred: 0,
      level: 1,
    });
    // Shorter by more than three words.
    expect(compareByFactors(traits({ words: 10 }), traits({ words: 14 }))).toEqual({
      preferred: 0,
      level: 4,
    });
  });

  it('leaves open what no factor decides, and what does not apply', () => {
    expect(compareByFactors(traits({ words: 10 }), traits({ words: 13 }))).toBeUndefined();
    expect(compareByFactors(traits({ correctness: undefined }), traits({ correctness: 0 }))).toBeUndefined();
  });
});
