/** "Did you mean …?": the candidate nearest to a mistyped name. */

/** Lower case without `-`, `_` and spaces: `learning_rate`, `--learning-rate` and `learningRate` fold to one word. */
export function foldName(name: string): string {
  return name.replace(/[-_\s]/g, '').toLowerCase();
}

/**
 * Fewest insertions, deletions, replacements and swaps of neighbors that turn `a` into `b`, no part edited twice
 * (optimal string alignment).
 *
 * @example editDistance('lerning', 'learning') // 1
 */
export function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(
        previous[column]! + 1,
        current[column - 1]! + 1,
        previous[column - 1]! + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, beforePrevious[column - 2]! + 1);
      }
      current.push(cost);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length]!;
}

/**
 * The candidate that `name` most likely stands for, or undefined when none is near. In this order: the same word in
 * another spelling; at most a third of the letters wrong; its initials (`lr` → `learningRate`); one of its words
 * (`rate` → `learningRate`), when only one candidate has it.
 */
export function suggest(name: string, candidates: Iterable<string>): string | undefined {
  const all = [...candidates];
  const folded = foldName(name);
  if (folded === '') return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(folded.length / 3)) + 1;
  for (const candidate of all) {
    const target = foldName(candidate);
    // One wrong letter of two says nothing.
    if (target.length < 3 && target !== folded) continue;
    const distance = editDistance(folded, target);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  if (best !== undefined) return best;
  return (
    single(all, (candidate) => initials(candidate) === folded) ??
    single(all, (candidate) => folded.length >= 3 && wordsOf(candidate).includes(folded))
  );
}

/** The only candidate that passes the test. */
function single(candidates: readonly string[], test: (candidate: string) => boolean): string | undefined {
  const passing = candidates.filter(test);
  return passing.length === 1 ? passing[0] : undefined;
}

/** `lr` of `learningRate`. Nobody shortens `lora.rank` or `beta` that way. */
function initials(name: string): string | undefined {
  const words = wordsOf(name);
  return name.includes('.') || words.length === 1 ? undefined : words.map((word) => word[0]).join('');
}

function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .split(/[-_.\s]+/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());
}
