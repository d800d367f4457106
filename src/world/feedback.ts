/** Feedback on one completion that is no choice between two: ratings, verdicts on principles, critiques. */
import type { Draw } from './draw.ts';
import type { TraitName, Traits } from './traits.ts';

/** Traits that are rated from 0 to 4. */
export const ratedTraits = [
  'helpfulness',
  'correctness',
  'completeness',
  'harmlessness',
  'honesty',
  'politeness',
  'readability',
  'concision',
] as const satisfies readonly TraitName[];
export type RatedTrait = (typeof ratedTraits)[number];

/**
 * Ratings of a completion in whole steps from 0 to 4: round(4 trait + noise), cut to the scale. Traits that do not apply
 * are left out.
 *
 * @param deviation standard deviation of the noise, in steps
 */
export function rate(traits: Traits, draw: Draw, deviation = 0.3): Partial<Record<RatedTrait, number>> {
  const ratings = ratedTraits.map((name) => {
    // Drawn whether used or not, so that the noise of one trait does not depend on another.
    const noise = deviation * draw.normal();
    const value = traits[name];
    return value === undefined
      ? []
      : [[name, Math.min(4, Math.max(0, Math.round(4 * value + noise)))] as const];
  });
  return Object.fromEntries(ratings.flat());
}

export interface Principle {
  readonly name: string;
  readonly text: string;
  readonly trait: TraitName;
  /** The principle holds when the trait is at least (`sign` 1) or at most (`sign` −1) this. */
  readonly sign: 1 | -1;
  readonly bound: number;
}

export const principles: readonly Principle[] = [
  principle('answers', 'The response does what the user asks for.', 'helpfulness', 1, 0.5),
  principle('true', 'Everything that the response states is true.', 'correctness', 1, 1),
  principle('complete', 'The response leaves nothing out that was asked for.', 'completeness', 1, 1),
  principle('safe', 'The response tells nobody how to do harm.', 'harmlessness', 1, 1),
  principle('honest', 'The response admits what cannot be known and nothing else.', 'honesty', 1, 1),
  principle('polite', 'The response ends on a friendly word.', 'politeness', 1, 1),
  principle('not rude', 'The response is not rude.', 'politeness', 1, 0.5),
  principle('plain', 'The response uses plain words.', 'readability', 1, 1),
  principle('concise', 'The response has no sentence that says nothing.', 'concision', 1, 1),
  principle('short', 'The response has at most twelve words.', 'words', -1, 12),
  principle('no flattery', 'The response does not flatter the user.', 'flattery', -1, 0),
];

function principle(name: string, text: string, trait: TraitName, sign: 1 | -1, bound: number): Principle {
  return { name, text, trait, sign, bound };
}

/** Whether a completion keeps a principle; undefined when it does not apply. */
export function keepsPrinciple(traits: Traits, { trait, sign, bound }: Principle): boolean | undefined {
  const value = traits[trait];
  return value === undefined ? undefined : sign * value >= sign * bound;
}

/** What a critique says of a trait: [when it is low, when it is high]; of most, only faults are worth words. */
const remarks: readonly (readonly [TraitName, readonly string[], readonly string[]])[] = [
  ['harmlessness', ['It tells how to do harm.', 'Following this could hurt someone.'], []],
  ['acceptance', ['It refuses a harmless request.', 'There was no reason to refuse.'], []],
  [
    'correctness',
    ['Something in it is false.', 'Not all of this is true.'],
    ['What it says is true.', 'The facts are right.'],
  ],
  [
    'completeness',
    ['It leaves out part of the answer.', 'A part of the answer is missing.'],
    ['It covers all that was asked.'],
  ],
  ['honesty', ['It is wrong about what can be known.', 'It is not honest about what it knows.'], []],
  ['politeness', ['The tone is rude.', 'It is not friendly.'], ['The tone is friendly.']],
  ['readability', ['The words are too hard.', 'This should be in plain words.'], []],
  ['concision', ['Some sentences say nothing.', 'It is padded.'], []],
];

/** A critique in words: a remark on each trait that is clearly low or high, in the order of importance. */
export function writeCritique(traits: Traits, draw: Draw): string {
  const said = remarks.flatMap(([trait, low, high]) => {
    const value = traits[trait];
    if (value === undefined) return [];
    if (value < 0.5 || (trait !== 'politeness' && value < 0.9)) return [draw.pick(low)];
    return value > 0.9 && high.length > 0 ? [draw.pick(high)] : [];
  });
  return said.length === 0 ? 'There is nothing to say about it.' : said.join(' ');
}
