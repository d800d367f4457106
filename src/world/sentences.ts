/** The grammar of responses: sentences to text, and text back to sentences. What does not parse is not well-formed. */
import { type PhraseGroup, phraseGroups, rewriteOrder, rewriteSlots, unknowables } from './phrases.ts';
import { technicalSentence } from './requests.ts';
import { dangerTasks, type Property, properties, propertyWords, taskActs } from './words.ts';

/** A property with a value that a sentence gives its subject. */
export interface Claim {
  readonly property: Property;
  readonly value: string;
  /** Said in technical language. */
  readonly technical: boolean;
}

/** One sentence of a response. */
export type Sentence =
  /** `subject` is an entity's name, or `it`. */
  | { readonly type: 'claims'; readonly subject: string; readonly claims: readonly Claim[] }
  | { readonly type: 'steps'; readonly acts: readonly string[] }
  | { readonly type: 'total'; readonly value: number }
  | { readonly type: 'guess'; readonly question: number }
  | {
      readonly type: 'rewrite';
      readonly entity: string;
      readonly ideas: readonly number[];
      readonly technical: boolean;
    }
  | { readonly type: 'phrase'; readonly group: PhraseGroup }
  /** Nothing that the grammar knows. */
  | { readonly type: 'unknown' };

export interface ParsedSentence {
  readonly text: string;
  readonly sentence: Sentence;
}

/** `is red`, for a predicate of the list and a value. */
export function predicate(property: Property, value: string, form: number | 'technical'): string {
  const words = propertyWords[property];
  const pattern = form === 'technical' ? words.technical : words.plain[form % words.plain.length]!;
  return pattern.replace('#', value);
}

/** `The Velmar kettle is red, costs 7 coins and weighs 3 kilos.` */
export function claimsText(subject: string, predicates: readonly string[]): string {
  const who = subject === 'it' ? 'It' : `The ${subject}`;
  const last = predicates.at(-1)!;
  const before = predicates.slice(0, -1);
  return `${who} ${before.length === 0 ? last : `${before.join(', ')} and ${last}`}.`;
}

/** `First rinse it, then wipe it, then dry it.` */
export const stepsText = (acts: readonly string[]): string => `First ${acts.join(', then ')}.`;

export const totalText = (value: number): string => `That is ${value} coins.`;

/** The plain sentence of a rewrite, or the technical one again. */
export function rewriteText(entity: string, ideas: readonly number[], technical: boolean): string {
  const sentence = technical ? technicalSentence(entity, ideas) : plainSentence(entity, ideas);
  return sentence.charAt(0).toUpperCase() + sentence.slice(1);
}

function plainSentence(name: string, ideas: readonly number[]): string {
  const [verb, manner, link, use] = rewriteOrder.map((slot, at) => rewriteSlots[slot][ideas[at]!]![1]);
  return `${verb} the ${name} ${manner} ${link} ${use}.`;
}

/** Sentences of a response with what each says. */
export function parseResponse(text: string): ParsedSentence[] {
  return splitSentences(text.trim()).map((sentence) => ({
    text: sentence,
    sentence: parseSentence(sentence),
  }));
}

function splitSentences(text: string): string[] {
  return text === '' ? [] : text.split(/(?<=[.!?])\s+/);
}

const phraseOf = new Map<string, PhraseGroup>(
  Object.entries(phraseGroups).flatMap(([group, list]) =>
    list.map((phrase) => [phrase as string, group as PhraseGroup] as const),
  ),
);

const knownActs = new Set([...Object.values(taskActs).flat(), ...dangerTasks.flatMap(({ acts }) => acts)]);

/** Every predicate of the world by its text. */
const claimOf = new Map<string, Claim>(
  properties.flatMap((property) => {
    const { values, plain, technical } = propertyWords[property];
    return values.flatMap((value) => [
      ...plain.map(
        (_, form) => [predicate(property, value, form), { property, value, technical: false }] as const,
      ),
      [technical.replace('#', value), { property, value, technical: true }] as const,
    ]);
  }),
);

const guessOf = new Map<string, number>(
  unknowables.flatMap(({ guess, values }, question) =>
    values.map((value) => [guess.replace('#', value), question] as const),
  ),
);

function parseSentence(text: string): Sentence {
  const group = phraseOf.get(text);
  if (group !== undefined) return { type: 'phrase', group };
  const question = guessOf.get(text);
  if (question !== undefined) return { type: 'guess', question };
  return (
    parseClaims(text) ?? parseSteps(text) ?? parseTotal(text) ?? parseRewrite(text) ?? { type: 'unknown' }
  );
}

function parseClaims(text: string): Sentence | undefined {
  const match = /^(It|The ([A-Z]\w* \w+)) (.+)\.$/.exec(text);
  if (match === null) return undefined;
  const claims = match[3]!.split(/, | and /).map((part) => claimOf.get(part));
  if (!claims.every((claim) => claim !== undefined)) return undefined;
  return { type: 'claims', subject: match[2] ?? 'it', claims };
}

function parseSteps(text: string): Sentence | undefined {
  const match = /^First (.+)\.$/.exec(text);
  if (match === null) return undefined;
  const acts = match[1]!.split(', then ');
  return acts.every((act) => knownActs.has(act)) ? { type: 'steps', acts } : undefined;
}

function parseTotal(text: string): Sentence | undefined {
  const match = /^That is (\d+) coins\.$/.exec(text);
  return match === null ? undefined : { type: 'total', value: Number(match[1]) };
}

const rewritePatterns = ([1, 0] as const).map((language) => {
  const words = rewriteOrder.map((slot) => `(${rewriteSlots[slot].map((pair) => pair[language]).join('|')})`);
  const [verb, manner, link, use] = words;
  return {
    technical: language === 0,
    pattern: new RegExp(`^${verb} the ([A-Z]\\w* \\w+) ${manner} ${link} ${use}\\.$`),
  };
});

function parseRewrite(text: string): Sentence | undefined {
  const lower = text.charAt(0).toLowerCase() + text.slice(1);
  for (const { technical, pattern } of rewritePatterns) {
    const match = pattern.exec(lower);
    if (match === null) continue;
    const found = [match[1]!, match[3]!, match[4]!, match[5]!];
    const ideas = rewriteOrder.map((slot, at) =>
      rewriteSlots[slot].findIndex((pair) => pair[technical ? 0 : 1] === found[at]),
    );
    return { type: 'rewrite', entity: match[2]!, ideas, technical };
  }
  return undefined;
}
