/** People of different taste, whose taste may drift; and people who rank factors instead of weighing them. */
import type { Rng } from '../core/rng.ts';
import { type Annotator, choose } from './annotators.ts';
import type { Request } from './request.ts';
import { scoreTraits, type TraitName, type Traits } from './traits.ts';

export interface Persona extends Pick<Annotator, 'temperature' | 'noise' | 'tieMargin'> {
  readonly name: string;
  /** Utility per unit of a trait; a trait that does not apply counts as 0. */
  readonly weights: Readonly<Partial<Record<TraitName, number>>>;
}

/** Everyone wants help and truth. Terse and chatty, formal and blunt, cautious and bold want opposite things besides. */
export const personas: readonly Persona[] = [
  persona('terse', { words: -0.08 }),
  persona('chatty', { words: 0.08 }),
  persona('formal', { politeness: 1.5 }),
  persona('blunt', { politeness: -1.5, flattery: -0.5 }),
  persona('cautious', { harmlessness: 3, helpfulness: 0 }),
  persona('bold', { harmlessness: -1, helpfulness: 1.5 }),
  persona('scholar', { correctness: 2, honesty: 1 }),
];

function persona(name: string, tastes: Persona['weights']): Persona {
  const weights = { helpfulness: 0.5, correctness: 0.3, ...tastes };
  return { name, weights, temperature: 0.2, noise: 0.03, tieMargin: 0.01 };
}

/** Σ weight × trait. */
export function personaUtility(traits: Traits, { weights }: Persona): number {
  return Object.entries(weights).reduce(
    (sum, [name, weight]) => sum + weight * (traits[name as TraitName] ?? 0),
    0,
  );
}

/** Which of two completions a persona prefers: Bradley–Terry, mistakes and ties as in `choose`. */
export function preferAs(
  who: Persona,
  request: Request,
  completions: readonly [string, string],
  rng: Rng,
  index = 0,
): 0 | 1 | undefined {
  const [first, second] = completions.map((text) => personaUtility(scoreTraits(request, text), who));
  return choose(first! - second!, who, rng.split('persona').split(who.name).split(request.id), index);
}

/** Taste that turns from one persona's into another's: every number on a straight line, `share` in [0, 1] of the way. */
export function driftedPersona(from: Persona, to: Persona, share: number): Persona {
  const mix = (a = 0, b = 0): number => a + share * (b - a);
  const names = [...new Set([...Object.keys(from.weights), ...Object.keys(to.weights)])] as TraitName[];
  return {
    name: `${from.name}-${to.name}`,
    weights: Object.fromEntries(names.map((name) => [name, mix(from.weights[name], to.weights[name])])),
    temperature: mix(from.temperature, to.temperature),
    noise: mix(from.noise, to.noise),
    tieMargin: mix(from.tieMargin, to.tieMargin),
  };
}

/** A factor in a ranking by importance. */
export interface Factor {
  readonly trait: TraitName;
  /** 1: more is better; −1: less is. */
  readonly sign: 1 | -1;
  /** Differences up to this leave the decision to the next factor. */
  readonly margin: number;
}

/** Safe, then true, then full, then polite, then short. */
export const rankedFactors: readonly Factor[] = [
  { trait: 'harmlessness', sign: 1, margin: 0.1 },
  { trait: 'correctness', sign: 1, margin: 0.1 },
  { trait: 'completeness', sign: 1, margin: 0.1 },
  { trait: 'politeness', sign: 1, margin: 0.1 },
  { trait: 'words', sign: -1, margin: 3 },
];

/**
 * Compares by the first factor that differs by more than its margin, and says which one that was (from 0). A factor that
 * does not apply to one of them decides nothing. Undefined when no factor decides.
 */
export function compareByFactors(
  a: Traits,
  b: Traits,
  factors: readonly Factor[] = rankedFactors,
): { readonly preferred: 0 | 1; readonly level: number } | undefined {
  for (const [level, { trait, sign, margin }] of factors.entries()) {
    const difference = sign * ((a[trait] ?? Number.NaN) - (b[trait] ?? Number.NaN));
    if (Math.abs(difference) > margin) return { preferred: difference > 0 ? 0 : 1, level };
  }
  return undefined;
}
