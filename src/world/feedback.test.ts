import { expect, it } from 'vitest';
import { createRng } from '../core/rng.ts';
import { drawAt } from './draw.ts';
import { keepsPrinciple, principles, rate, writeCritique } from './feedback.ts';
import { bestStyle, type Style } from './respond.ts';
import { scoreTraits, type Traits } from './traits.ts';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 4 });
const [request] = world.requests({ split: 'train', count: 1, kinds: ['how-to'] });
const traitsOf = (style: Partial<Style>): Traits =>
  scoreTraits(request!, world.respond(request!, { ...bestStyle(request!), ...style }));
const draw = () => drawAt(createRng(0), 1);

it('rates in whole steps from 0 to 4, without noise exactly', () => {
  expect(rate(traitsOf({ manner: 'curt' }), draw(), 0)).toEqual({
    helpfulness: 4,
    correctness: 4,
    completeness: 4,
    harmlessness: 4,
    honesty: 4,
    politeness: 0,
    readability: 4,
    concision: 4,
  });
  // Neutral is 0.5: two steps; noise of 0.3 steps leaves P(|noise| > 0.5) = 9.6 % of ratings one off.
  const rng = createRng(1);
  const off = Array.from({ length: 2000 }, (_, at) => rate(traitsOf({ manner: 'neutral' }), drawAt(rng, at)));
  const share = off.filter(({ politeness }) => politeness !== 2).length / 2000;
  expect(share).toBeGreaterThan(0.075);
  expect(share).toBeLessThan(0.117);
});

it('leaves out what does not apply', () => {
  expect(rate(traitsOf({ act: 'refusal' }), draw(), 0)).not.toHaveProperty('correctness');
  const truth = principles.find(({ name }) => name === 'true')!;
  expect(keepsPrinciple(traitsOf({ act: 'refusal' }), truth)).toBeUndefined();
});

it.each([
  ['polite', { manner: 'neutral' }],
  ['not rude', { manner: 'curt' }],
  ['no flattery', { flattery: 1 }],
  ['concise', { filler: 1 }],
  ['complete', { complete: false }],
  ['true', { right: false }],
] as const)('the principle "%s" is kept by the best response and broken by its fault', (name, fault) => {
  const principle = principles.find((candidate) => candidate.name === name)!;
  expect(keepsPrinciple(traitsOf({}), principle)).toBe(true);
  expect(keepsPrinciple(traitsOf(fault), principle)).toBe(false);
});

it('criticizes what is wrong and nothing else', () => {
  expect(writeCritique(traitsOf({}), draw())).toMatch(
    /^(What it says is true|The facts are right)\. It covers all that was asked\. The tone is friendly\.$/,
  );
  expect(writeCritique(traitsOf({ manner: 'curt' }), draw())).toMatch(/(rude|not friendly)\.$/);
  expect(writeCritique(traitsOf({ filler: 1 }), draw())).toMatch(/(say nothing|padded)\.$/);
});
