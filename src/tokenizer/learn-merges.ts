/** Ids of a pair in one number: both are below 2^20. */
const PAIR = 2 ** 20;
const leftOf = (pair: number): number => Math.floor(pair / PAIR);
const rightOf = (pair: number): number => pair % PAIR;

export interface LearnMergesOptions {
  /** Id of byte 0; the first merge gets the id after byte 255. */
  readonly firstByte: number;
  /** Most merges. */
  readonly merges: number;
  readonly minFrequency: number;
}

/**
 * The merges of byte-pair encoding over words with counts. Counts of pairs are updated for the words that hold the merged
 * pair only, and the best pair comes from a heap whose outdated entries are corrected when they reach the top: the count
 * of an existing pair never grows, so an entry too high is met early, never late.
 *
 * @returns pairs of ids in the order learned; merge i makes id `firstByte + 256 + i`
 */
export function learnMerges(
  counts: ReadonlyMap<string, number>,
  { firstByte, merges: limit, minFrequency }: LearnMergesOptions,
): (readonly [number, number])[] {
  const utf8 = new TextEncoder();
  const words: Int32Array[] = [];
  const frequency: number[] = [];
  for (const [word, count] of counts) {
    words.push(Int32Array.from(utf8.encode(word), (byte) => byte + firstByte));
    frequency.push(count);
  }

  const pairCount = new Map<number, number>();
  /** Words that held the pair at some time; each at most once in a row. */
  const pairWords = new Map<number, number[]>();
  const count = (pair: number, by: number, word: number): void => {
    pairCount.set(pair, (pairCount.get(pair) ?? 0) + by);
    if (by < 0) return;
    const holders = pairWords.get(pair);
    if (holders === undefined) pairWords.set(pair, [word]);
    else if (holders[holders.length - 1] !== word) holders.push(word);
  };
  for (const [index, word] of words.entries()) {
    for (let i = 0; i + 1 < word.length; i++) count(word[i]! * PAIR + word[i + 1]!, frequency[index]!, index);
  }

  const heap = new PairHeap();
  for (const [pair, times] of pairCount) heap.push(times, pair);
  const merges: (readonly [number, number])[] = [];
  while (merges.length < limit) {
    const top = heap.pop();
    if (top === undefined || top.count < minFrequency) break;
    const { pair } = top;
    const now = pairCount.get(pair) ?? 0;
    if (now !== top.count) {
      if (now > 0) heap.push(now, pair);
      continue;
    }
    const left = leftOf(pair);
    const right = rightOf(pair);
    const made = firstByte + 256 + merges.length;
    merges.push([left, right]);
    const fresh = new Set<number>();
    for (const index of pairWords.get(pair) ?? []) {
      const word = words[index]!;
      const merged = mergeIn(word, left, right, made);
      if (merged === undefined) continue;
      const times = frequency[index]!;
      for (let i = 0; i + 1 < word.length; i++) count(word[i]! * PAIR + word[i + 1]!, -times, index);
      for (let i = 0; i + 1 < merged.length; i++) {
        const neighbor = merged[i]! * PAIR + merged[i + 1]!;
        count(neighbor, times, index);
        if (merged[i] === made || merged[i + 1] === made) fresh.add(neighbor);
      }
      words[index] = merged;
    }
    pairCount.delete(pair);
    pairWords.delete(pair);
    for (const neighbor of fresh) heap.push(pairCount.get(neighbor)!, neighbor);
  }
  return merges;
}

/** The word with every pair replaced, from the left; undefined when it has none. */
function mergeIn(word: Int32Array, left: number, right: number, made: number): Int32Array | undefined {
  let length = 0;
  const merged = new Int32Array(word.length);
  for (let i = 0; i < word.length; i++) {
    if (word[i] === left && word[i + 1] === right) {
      merged[length++] = made;
      i++;
    } else {
      merged[length++] = word[i]!;
    }
  }
  return length === word.length ? undefined : merged.subarray(0, length);
}

/** A binary heap: the largest count first, then the smallest pair (smaller left id, then smaller right id). */
class PairHeap {
  readonly #counts: number[] = [];
  readonly #pairs: number[] = [];

  push(count: number, pair: number): void {
    let at = this.#pairs.length;
    this.#counts.push(count);
    this.#pairs.push(pair);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(count, pair, parent)) break;
      this.#move(parent, at);
      at = parent;
    }
    this.#counts[at] = count;
    this.#pairs[at] = pair;
  }

  pop(): { readonly count: number; readonly pair: number } | undefined {
    if (this.#pairs.length === 0) return undefined;
    const top = { count: this.#counts[0]!, pair: this.#pairs[0]! };
    const count = this.#counts.pop()!;
    const pair = this.#pairs.pop()!;
    const size = this.#pairs.length;
    if (size === 0) return top;
    let at = 0;
    for (let child = 1; child < size; child = 2 * at + 1) {
      if (child + 1 < size && this.#isBefore(this.#counts[child + 1]!, this.#pairs[child + 1]!, child))
        child++;
      if (this.#isBefore(count, pair, child)) break;
      this.#move(child, at);
      at = child;
    }
    this.#counts[at] = count;
    this.#pairs[at] = pair;
    return top;
  }

  #isBefore(count: number, pair: number, at: number): boolean {
    return count > this.#counts[at]! || (count === this.#counts[at]! && pair < this.#pairs[at]!);
  }

  #move(from: number, to: number): void {
    this.#counts[to] = this.#counts[from]!;
    this.#pairs[to] = this.#pairs[from]!;
  }
}
