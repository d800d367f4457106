/** Readability of English text and the quality of a simplification. */
import type { Request } from './request.ts';
import { rewriteText } from './sentences.ts';

const words = (text: string): string[] => text.match(/[A-Za-z0-9]+(?:'[A-Za-z]+)?/g) ?? [];

/** Words and punctuation marks. */
const tokens = (text: string): string[] => text.match(/[A-Za-z0-9]+(?:'[A-Za-z]+)?|[^\s\w]/g) ?? [];

const knownSyllables = new Map<string, number>();

/** Syllables of a word: groups of vowels, without a silent final e; at least 1. */
export function countSyllables(word: string): number {
  const known = knownSyllables.get(word);
  if (known !== undefined) return known;
  const lower = word.toLowerCase().replace(/[^a-z]/g, '');
  const bare = /[^aeiouy]le$/.test(lower) ? lower : lower.replace(/e$/, '');
  const count = Math.max(1, bare.match(/[aeiouy]+/g)?.length ?? 0);
  // Bounded, since a text that is sampled may hold any word.
  if (knownSyllables.size < 20_000) knownSyllables.set(word, count);
  return count;
}

/**
 * Flesch–Kincaid grade: 0.39 words/sentences + 11.8 syllables/words − 15.59, in US school years. 0 for no words.
 *
 * @source Kincaid, Fishburne, Rogers, Chissom (1975), "Derivation of new readability formulas", Navy report 8-75
 * @example
 * fleschKincaid('The cat sat.') // 0.39 · 3 + 11.8 · 1 − 15.59 = −2.62
 */
export function fleschKincaid(text: string): number {
  const list = words(text);
  if (list.length === 0) return 0;
  const sentences = Math.max(1, text.match(/[.!?]+(?=\s|$)/g)?.length ?? 0);
  const syllables = list.reduce((sum, word) => sum + countSyllables(word), 0);
  return (0.39 * list.length) / sentences + (11.8 * syllables) / list.length - 15.59;
}

export interface Sari {
  /** 100 × mean over n of (keep + delete + add) / 3. */
  readonly sari: number;
  /** Means over n = 1 … 4, in [0, 1]: F1 of kept n-grams, precision of deleted ones, F1 of added ones. */
  readonly keep: number;
  readonly delete: number;
  readonly add: number;
}

/**
 * SARI of a simplification against one or more references, over n-grams of 1 to 4 lower-case words and punctuation marks.
 *
 * Counts of source and output are multiplied by the number of references, whose counts are added. Keep: F1 of the n-grams
 * that source and output share. Delete: precision of those that the output lost. Add: F1 of those that it gained, as sets.
 * 0/0 counts as 0.
 *
 * @source Xu, Napoles, Pavlick, Chen, Callison-Burch (2016), "Optimizing statistical machine translation for text
 *   simplification", section 4
 */
export function sari(source: string, output: string, references: readonly string[]): Sari {
  const sides = [source, output, ...references].map((text) => tokens(text.toLowerCase()));
  let [keep, remove, add] = [0, 0, 0];
  for (let n = 1; n <= 4; n++) {
    const [s, o, ...rs] = sides.map((side) => countNgrams(side, n)) as [Counts, Counts, ...Counts[]];
    const sourceCounts = scale(s, rs.length);
    const outputCounts = scale(o, rs.length);
    const reference = new Map<string, number>();
    for (const counts of rs)
      for (const [gram, count] of counts) reference.set(gram, (reference.get(gram) ?? 0) + count);
    const kept = minimum(sourceCounts, outputCounts);
    const keptRight = minimum(kept, reference);
    const keepable = minimum(sourceCounts, reference);
    keep += f1(meanRatio(keptRight, kept), meanRatio(keptRight, keepable)) / 4;
    const lost = minus(sourceCounts, outputCounts);
    remove += meanRatio(minus(lost, reference), lost) / 4;
    const gained = [...o.keys()].filter((gram) => !s.has(gram));
    const wanted = [...reference.keys()].filter((gram) => !s.has(gram));
    const right = gained.filter((gram) => reference.has(gram)).length;
    add += f1(ratio(right, gained.length), ratio(right, wanted.length)) / 4;
  }
  return { sari: (100 * (keep + remove + add)) / 3, keep, delete: remove, add };
}

type Counts = Map<string, number>;

function countNgrams(list: readonly string[], n: number): Counts {
  const counts: Counts = new Map();
  for (let at = 0; at + n <= list.length; at++) {
    const gram = list.slice(at, at + n).join(' ');
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

function scale(counts: Counts, factor: number): Counts {
  return new Map([...counts].map(([gram, count]) => [gram, count * factor]));
}

function minimum(a: Counts, b: Counts): Counts {
  return new Map(
    [...a].flatMap(([gram, count]) => (b.has(gram) ? [[gram, Math.min(count, b.get(gram)!)]] : [])),
  );
}

function minus(a: Counts, b: Counts): Counts {
  return new Map(
    [...a].flatMap(([gram, count]) =>
      count > (b.get(gram) ?? 0) ? [[gram, count - (b.get(gram) ?? 0)]] : [],
    ),
  );
}

/** Mean of part / whole over the n-grams of `whole`. */
function meanRatio(part: Counts, whole: Counts): number {
  let sum = 0;
  for (const [gram, count] of whole) sum += (part.get(gram) ?? 0) / count;
  return ratio(sum, whole.size);
}

const ratio = (a: number, b: number): number => (b === 0 ? 0 : a / b);
const f1 = (precision: number, recall: number): number => ratio(2 * precision * recall, precision + recall);

/** How simple a completion of a rewrite request is, beside its source; undefined for other requests. */
export function rewriteQuality(
  request: Request,
  completion: string,
): { readonly grade: number; readonly sourceGrade: number; readonly sari: number } | undefined {
  const [item] = request.items;
  if (item?.type !== 'rewrite') return undefined;
  const source = rewriteText(item.entity, item.ideas, true);
  const reference = rewriteText(item.entity, item.ideas, false);
  return {
    grade: fleschKincaid(completion),
    sourceGrade: fleschKincaid(source),
    sari: sari(source, completion, [reference]).sari,
  };
}
