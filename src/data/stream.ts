/**
 * Streams that can go on from where they were: every value comes with the cursor behind it. A cursor is plain JSON, goes into a
 * checkpoint, and a stream built the same way and started from it gives exactly the values that were still to come.
 */
import { ConfigError } from '../core/errors.ts';
import type { Rng } from '../core/rng.ts';
import { readRows } from './read-rows.ts';
import type { Row } from './row.ts';

/** A position; `null` is the beginning. Only the stream that made it can read it. */
export type Cursor = null | number | readonly Cursor[];

export interface Entry<T> {
  readonly value: T;
  /** Where to go on behind this value. */
  readonly next: Cursor;
}

export interface Stream<T> {
  /** Values from a cursor on. May be called any number of times. */
  from(cursor?: Cursor): AsyncGenerator<Entry<T>, void, undefined>;
}

/** The values of a list, in its order. */
export function listStream<T>(values: readonly T[]): Stream<T> {
  return {
    async *from(cursor = null) {
      for (let at = (cursor as number | null) ?? 0; at < values.length; at++) {
        yield { value: values[at]!, next: at + 1 };
      }
    },
  };
}

/**
 * The rows of files, one file after the other. Going on does not parse the rows before the cursor; of Parquet it does not read
 * the row groups before it.
 */
export function fileStream(paths: readonly string[]): Stream<Row> {
  return {
    async *from(cursor = null) {
      const [file, done] = (cursor as [number, number] | null) ?? [0, 0];
      for (let index = file; index < paths.length; index++) {
        let count = index === file ? done : 0;
        for await (const value of readRows(paths[index]!, count)) {
          count++;
          yield { value, next: [index, count] };
        }
      }
    },
  };
}

/** One stream after the other. */
export function concatStreams<T>(streams: readonly Stream<T>[]): Stream<T> {
  return {
    async *from(cursor = null) {
      const [first, inner] = (cursor as [number, Cursor] | null) ?? [0, null];
      for (let index = first; index < streams.length; index++) {
        for await (const { value, next } of streams[index]!.from(index === first ? inner : null)) {
          yield { value, next: [index, next] };
        }
      }
    },
  };
}

/** What `change` makes of each value: none, one or several. It must give the same for the same value. */
export function flatMapStream<A, B>(stream: Stream<A>, change: (value: A) => readonly B[]): Stream<B> {
  return {
    async *from(cursor = null) {
      // Before the value that was in work, and how many of its results were given.
      let [before, given] = (cursor as [Cursor, number] | null) ?? [null, 0];
      for await (const { value, next } of stream.from(before)) {
        const results = change(value);
        for (let index = given; index < results.length; index++) {
          const last = index + 1 === results.length;
          yield { value: results[index]!, next: last ? [next, 0] : [before, index + 1] };
        }
        before = next;
        given = 0;
      }
    },
  };
}

export function mapStream<A, B>(stream: Stream<A>, change: (value: A) => B): Stream<B> {
  return flatMapStream(stream, (value) => [change(value)]);
}

export function filterStream<T>(stream: Stream<T>, keep: (value: T) => boolean): Stream<T> {
  return flatMapStream(stream, (value) => (keep(value) ? [value] : []));
}

/** The first `count` values. */
export function takeStream<T>(stream: Stream<T>, count: number): Stream<T> {
  return {
    async *from(cursor = null) {
      let [inner, done] = (cursor as [Cursor, number] | null) ?? [null, 0];
      if (done >= count) return;
      for await (const { value, next } of stream.from(inner)) {
        done++;
        inner = next;
        yield { value, next: [next, done] };
        if (done >= count) return;
      }
    },
  };
}

/**
 * Values in another order: consecutive blocks of `block` values, each in an order drawn from all its permutations. So every
 * value comes exactly once, and moves by less than `block` places. With `block` at least the number of values, every order of
 * the whole is equally likely. Price: a block in memory, and going on reads the begun block again.
 *
 * @param options `rng`: of this pass; another pass needs another stream, `rng.split(epoch)`
 */
export function shuffleStream<T>(
  stream: Stream<T>,
  { rng, block = Number.POSITIVE_INFINITY }: { readonly rng: Rng; readonly block?: number },
): Stream<T> {
  if (!(block >= 1)) {
    throw new ConfigError({
      where: 'shuffleStream: block',
      expected: 'at least 1 value',
      received: String(block),
    });
  }
  return {
    async *from(cursor = null) {
      // The block's number, where it begins, and how many of its values were given.
      const [first, start, given] = (cursor as [number, Cursor, number] | null) ?? [0, null, 0];
      let index = first;
      let before = start;
      let skip = given;
      let held: T[] = [];
      let end: Cursor = start;
      function* release(): Generator<Entry<T>> {
        const order = rng.permutation(held.length, index);
        for (let at = skip; at < held.length; at++) {
          const last = at + 1 === held.length;
          yield { value: held[order[at]!]!, next: last ? [index + 1, end, 0] : [index, before, at + 1] };
        }
        index++;
        before = end;
        skip = 0;
        held = [];
      }
      for await (const { value, next } of stream.from(start)) {
        held.push(value);
        end = next;
        if (held.length >= block) yield* release();
      }
      if (held.length > 0) yield* release();
    },
  };
}

export interface MixOptions {
  /** Relative; each value comes from stream i with probability weight i / sum. */
  readonly weights: readonly number[];
  readonly rng: Rng;
  /**
   * When a stream has ended: `first`: the mixture ends, so that proportions hold to the end (default); `all`: the others go
   * on with their weights, each value comes exactly once; `repeat`: it begins again until every stream was given whole.
   */
  readonly stop?: 'first' | 'all' | 'repeat';
}

/** Streams mixed with weights. The choice of step t depends on the seed and t alone. */
export function mixStreams<T>(
  streams: readonly Stream<T>[],
  { weights, rng, stop = 'first' }: MixOptions,
): Stream<T> {
  if (
    weights.length !== streams.length ||
    !weights.every((weight) => weight > 0 && Number.isFinite(weight))
  ) {
    throw new ConfigError({
      where: 'mixStreams: weights',
      expected: `${streams.length} numbers above 0, one for each data set`,
      received: weights.join(', ') || 'none',
    });
  }
  return {
    async *from(cursor = null) {
      type State = [step: number, cursors: Cursor[], ended: number[]];
      const [first, cursors, ended] = ((cursor as unknown as State | null) ?? [
        0,
        streams.map(() => null),
        streams.map(() => 0),
      ]) as State;
      const at = [...cursors];
      const over = [...ended];
      const open = new Map<number, AsyncGenerator<Entry<T>, void, undefined>>();
      const pull = (index: number): Promise<IteratorResult<Entry<T>, void>> => {
        const generator = open.get(index) ?? streams[index]!.from(at[index]!);
        open.set(index, generator);
        return generator.next();
      };
      try {
        for (let step = first; ; step++) {
          const live = streams.flatMap((_, index) => (stop === 'all' && over[index] ? [] : [index]));
          if (live.length === 0 || (stop === 'repeat' && over.every((times) => times > 0))) return;
          const index = choose(live, weights, rng.uniform(step));
          let result = await pull(index);
          if (result.done) {
            over[index]!++;
            if (stop === 'first') return;
            open.delete(index);
            at[index] = null;
            if (stop === 'all' || over.every((times) => times > 0)) continue;
            result = await pull(index);
            // An empty stream would be begun again forever.
            if (result.done) continue;
          }
          at[index] = result.value.next;
          yield { value: result.value.value, next: [step + 1, [...at], [...over]] };
        }
      } finally {
        for (const generator of open.values()) await generator.return();
      }
    },
  };
}

function choose(live: readonly number[], weights: readonly number[], draw: number): number {
  const total = live.reduce((sum, index) => sum + weights[index]!, 0);
  let left = draw * total;
  for (const index of live) {
    left -= weights[index]!;
    if (left < 0) return index;
  }
  return live.at(-1)!;
}

/**
 * Only the first of values with one key. Keys are held in memory (32 bytes of text each). Going on reads the stream from its
 * beginning, since the keys before the cursor decide what follows.
 */
export function uniqueStream<T>(stream: Stream<T>, keyOf: (value: T) => string): Stream<T> {
  return {
    async *from(cursor = null) {
      const given = (cursor as number | null) ?? 0;
      const seen = new Set<string>();
      for await (const { value } of stream.from()) {
        const key = keyOf(value);
        if (seen.has(key)) continue;
        seen.add(key);
        if (seen.size > given) yield { value, next: seen.size };
      }
    },
  };
}

/** All values. */
export async function collect<T>(stream: Stream<T>, cursor: Cursor = null): Promise<T[]> {
  const values: T[] = [];
  for await (const { value } of stream.from(cursor)) values.push(value);
  return values;
}
