/** Generation that never ends: requests join a running batch, leave it when they are done, and can be withdrawn at any time. */
import { ConfigError, DataError } from '../core/errors.ts';
import type { Binding, Engine } from '../engine/engine.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { Parameters } from '../nn/parameters.ts';
import { slotCache } from './cache.ts';
import { checkRequest } from './check-options.ts';
import { compact, completionOf, groupByPrompt } from './decode-all.ts';
import { createDecoder, createPrograms, type Decoder } from './decoder.ts';
import type { Completion, GenerateOptions } from './generate.ts';
import { createRow, extend, type Row } from './row.ts';
import type { RowOutputs } from './sample.ts';
import { createSessionGuessing } from './session-guessing.ts';
import type { Speculated } from './speculative.ts';

export interface SessionOptions {
  readonly engine: Engine;
  readonly model: CausalModel;
  readonly parameters: Parameters;
  /** Rows decoded together at most. The cache for all of them, and for an eighth more that wait ready, is allocated once. */
  readonly slots: number;
  /** Longest prompt and completion together, tokens: at most the model's context, which is the default. */
  readonly maxTokens?: number | undefined;
  /** Freeze the weights into the decode programs: faster, and one more copy of them per batch size that occurs. */
  readonly prepack?: boolean | undefined;
  /**
   * While a row is alone, guess this many tokens at a time by prompt look-up and check them in one pass; 0 (default) guesses
   * none. Completions do not change.
   */
  readonly speculate?: number | undefined;
  /** Gives way to other work of the process between two steps. */
  readonly pause: () => Promise<void>;
  /**
   * Milliseconds from any origin. With it, steps that are short run at once instead of off the event loop: handing them to
   * another thread and back costs more than others wait.
   */
  readonly clock?: (() => number) | undefined;
}

/** Milliseconds that a step may hold the event loop. */
const shortStep = 20;

/** Options of one request: those of `generate` that concern single rows. */
export type RequestOptions = Omit<GenerateOptions, 'batchSize' | 'keys' | 'perPrompt' | 'onTokens'>;

/** A request under way: `n` completions of one prompt. */
export interface SessionRequest {
  /** The completions in the order of their samples. Rejects when the session fails or is disposed. */
  readonly completions: Promise<readonly Completion[]>;
  /** Withdraws one sample, or all: their slots are free after the running step, and they count as complete as they are. */
  cancel(sampleIndex?: number): void;
}

export interface GeneratorSession {
  /**
   * Adds a request. Its tokens come through `onToken`; the draws depend on `rng`, the sample's index and the position only,
   * never on what else is in the batch.
   *
   * @throws DataError when prompt and completion have no room; ConfigError for options out of range
   */
  add(prompt: ArrayLike<number>, options: RequestOptions): SessionRequest;
  /** Rows in slots or ready for one, and rows that wait. */
  readonly active: number;
  readonly waiting: number;
  /** Longest prompt and completion together, tokens. */
  readonly maxTokens: number;
  /** Tokens guessed, and those of them that were kept. */
  readonly speculated: Readonly<Speculated>;
  /** Ends after the running step; whatever is unfinished is rejected. */
  dispose(): Promise<void>;
}

/** Prefill programs kept: requests come in many lengths and numbers. */
const prefillPrograms = 32;

/**
 * 16, 32, 48, 64, 96, 128, 192 …: few lengths, so that few programs are compiled, and at most half of a prompt is padding.
 *
 * @example padded(65) // 96
 */
function padded(longest: number): number {
  const power = Math.max(16, 2 ** Math.ceil(Math.log2(longest)));
  return power > 32 && longest <= (3 * power) / 4 ? (3 * power) / 4 : power;
}

/** Runs steps at once while they are short, by the last one, and off the event loop otherwise. */
function shortOnThread(clock: () => number): (binding: Binding) => Promise<void> | void {
  let last = Number.POSITIVE_INFINITY;
  return async (binding) => {
    const start = clock();
    if (last < shortStep) binding.runSync();
    else await binding.run();
    last = clock() - start;
  };
}

/** A row with what its request wants of it. */
interface Entry {
  readonly row: Row;
  readonly request: Request;
  cancelled: boolean;
}

interface Request {
  readonly options: GenerateOptions;
  readonly entries: Entry[];
  open: number;
  readonly resolve: (completions: readonly Completion[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Creates a session over weights that do not change while it lives. */
export function createSession(options: SessionOptions): GeneratorSession {
  const { engine, model, parameters, slots, prepack = true, speculate = 0, pause, clock } = options;
  const maxTokens = Math.min(options.maxTokens ?? model.maxPositions, model.maxPositions);
  if (!(Number.isInteger(slots) && slots >= 1)) {
    throw new ConfigError({
      where: 'createSession(slots)',
      expected: 'a positive integer',
      received: String(slots),
      fix: 'Decode at least one row at a time',
    });
  }
  // Prompts that are computed while all slots are taken: a slot that falls free has its next row at once, and a few larger
  // prefills cost less than many of one row.
  const ahead = Math.ceil(slots / 8);
  const weights = parameters.arrays();
  const live = createPrograms(engine, model, weights, false, prefillPrograms);
  const packed = prepack ? createPrograms(engine, model, weights, true) : undefined;
  const cache = slotCache(model, slots + ahead, maxTokens + speculate, undefined);
  const guessing =
    speculate === 0
      ? undefined
      : createSessionGuessing({
          ...{ programs: packed ?? live, cache, count: speculate, maxPositions: model.maxPositions },
          run: clock === undefined ? (binding) => binding.run() : shortOnThread(clock),
        });
  const decoder: Decoder = createDecoder({
    model,
    prefill: live,
    decode: packed ?? live,
    cache,
    run: (binding) => binding.run(),
    ...(clock === undefined ? {} : { runStep: shortOnThread(clock) }),
    padded,
  });
  const queue: Entry[] = [];
  /** Entries by slot. Its length is the batch size of the decode program. */
  let held: (Entry | undefined)[] = [];
  /** Rows behind the last slot, computed up to their first token. */
  let ready: { readonly entry: Entry; readonly slot: number }[] = [];
  let counter = 0;
  let disposed = false;
  let running: Promise<void> | undefined;

  function finish(entry: Entry): void {
    const { request } = entry;
    if (--request.open > 0) return;
    request.resolve(request.entries.map(({ row }) => completionOf(row, request.options)));
  }

  function advance(entry: Entry, outputs: RowOutputs): void {
    const { row, request } = entry;
    try {
      extend(row, outputs, request.options, maxTokens - row.prompt.length - row.ids.length);
    } catch (error) {
      // What one request's options or callback did must not end the others.
      request.reject(error);
      for (const other of request.entries) withdraw(other);
    }
  }

  function withdraw(entry: Entry): void {
    if (entry.row.finish !== undefined) return;
    entry.cancelled = true;
    entry.row.finish = 'stop';
  }

  /** Ends rows that were withdrawn, in slots and in the queue. */
  function sweep(): void {
    held = held.map((entry) => {
      if (entry?.cancelled !== true) return entry;
      finish(entry);
      return undefined;
    });
    ready = ready.filter(({ entry }) => {
      if (entry.cancelled) finish(entry);
      return !entry.cancelled;
    });
    for (let i = queue.length - 1; i >= 0; i--) {
      const entry = queue[i]!;
      if (!entry.cancelled) continue;
      queue.splice(i, 1);
      finish(entry);
    }
  }

  const active = (): number => held.filter((entry) => entry !== undefined).length;
  /** Makes the batch large enough for `more` rows, or as large as it may be. */
  function makeRoom(more: number): void {
    const needed = active() + more;
    if (needed <= held.length) return;
    const size = Math.min(slots, 2 ** Math.ceil(Math.log2(needed)));
    held = [...held, ...new Array<undefined>(size - held.length).fill(undefined)];
  }
  const emptySlots = (): number[] => [...held.keys()].filter((slot) => held[slot] === undefined);

  /** Puts rows into free slots in the order they came: those that are ready, then those that wait. */
  async function admit(): Promise<void> {
    makeRoom(ready.length);
    for (const slot of emptySlots().slice(0, ready.length)) {
      const next = ready.shift()!;
      decoder.move(next.slot, slot, next.entry.row);
      held[slot] = next.entry;
    }
    const free = slots - active();
    if (ready.length > 0 || queue.length === 0 || (free === 0 && queue.length < ahead)) return;
    const admitted = queue.splice(0, free + ahead);
    makeRoom(admitted.length);
    const targetSlots = [...emptySlots(), ...Array.from({ length: ahead }, (_, i) => slots + i)];
    // Rows of one request have one prompt; requests are told apart by their number, which stands as the prompt's index.
    const targets = groupByPrompt(
      admitted.map((entry, i) => ({ row: entry.row, entry, slot: targetSlots[i]! })),
    );
    for (const { entry, slot } of targets.flat()) {
      if (slot < slots) held[slot] = entry;
      else ready.push({ entry, slot });
    }
    await decoder.prefill(targets, (outputs, index) => {
      for (const { entry, slot } of targets[index]!) {
        if (entry.cancelled) continue;
        advance(entry, outputs);
        if (entry.row.finish === undefined) continue;
        if (slot < slots) held[slot] = undefined;
        else ready = ready.filter((other) => other.entry !== entry);
        finish(entry);
      }
    });
  }

  function shrink(): void {
    const rowsLeft = active();
    if (rowsLeft === 0) {
      held = [];
      return;
    }
    if (queue.length > 0 || ready.length > 0 || rowsLeft > held.length / 2) return;
    const rows = held.map((entry) => entry?.row);
    const byRow = new Map(held.flatMap((entry) => (entry === undefined ? [] : [[entry.row, entry]])));
    held = compact(rows, rowsLeft, decoder).map((row) => (row === undefined ? undefined : byRow.get(row)));
  }

  /** One token for every row. */
  async function step(stepped: readonly (Entry | undefined)[]): Promise<void> {
    const outputs = await decoder.step(stepped.map((entry) => entry?.row));
    stepped.forEach((entry, slot) => {
      if (entry === undefined || entry.cancelled) return;
      advance(entry, outputs[slot]!);
      leave(entry, slot);
    });
  }

  /** Several tokens for a row that is alone; false where they cannot be guessed. */
  async function guess([entry, ...others]: readonly (Entry | undefined)[]): Promise<boolean> {
    if (guessing === undefined || entry === undefined || others.length > 0) return false;
    const guessed = await guessing.step(entry.row, (outputs) => advance(entry, outputs));
    leave(entry, 0);
    return guessed;
  }

  /** Frees the slot of a row that has ended. */
  function leave(entry: Entry, slot: number): void {
    if (entry.row.finish === undefined) return;
    held[slot] = undefined;
    finish(entry);
  }

  async function loop(): Promise<void> {
    for (;;) {
      sweep();
      if (disposed || active() + ready.length + queue.length === 0) return;
      await admit();
      sweep();
      shrink();
      if (held.length === 0) continue;
      if (!(await guess(held))) await step(held);
      await pause();
    }
  }

  /** Rejects everything that is not finished. */
  function abandon(error: unknown): void {
    const requests = new Set(
      [...held, ...ready.map(({ entry }) => entry), ...queue].flatMap((entry) =>
        entry === undefined ? [] : [entry.request],
      ),
    );
    held = [];
    ready = [];
    queue.length = 0;
    for (const request of requests) request.reject(error);
  }

  function start(): void {
    running ??= loop()
      .catch(abandon)
      .finally(() => {
        running = undefined;
        // What was added between the loop's last look and here.
        if (queue.length > 0 && !disposed) start();
      });
  }

  return {
    maxTokens,
    speculated: guessing?.speculated ?? { guessed: 0, kept: 0 },
    get active() {
      return active() + ready.length;
    },
    get waiting() {
      return queue.length;
    },
    add(prompt, given) {
      const options: GenerateOptions = given;
      checkRequest([prompt], options, model);
      if (disposed) throw disposedError();
      if (prompt.length >= maxTokens) {
        throw new DataError({
          where: 'prompt',
          expected: `at most ${maxTokens - 1} tokens, so that one more fits`,
          received: `${prompt.length} tokens`,
          fix: 'Shorten the prompt',
        });
      }
      const number = counter++;
      let settle!: Pick<Request, 'resolve' | 'reject'>;
      const completions = new Promise<readonly Completion[]>((resolve, reject) => {
        settle = { resolve, reject };
      });
      // The caller may look at it only after it was rejected.
      completions.catch(() => undefined);
      const n = options.n ?? 1;
      const request: Request = { options, entries: [], open: n, ...settle };
      for (let sampleIndex = 0; sampleIndex < n; sampleIndex++) {
        const row = createRow({ promptIndex: number, sampleIndex, key: 0 }, prompt, options);
        request.entries.push({ row, request, cancelled: false });
      }
      queue.push(...request.entries);
      start();
      return {
        completions,
        cancel(sampleIndex) {
          for (const entry of request.entries) {
            if (sampleIndex === undefined || entry.row.sampleIndex === sampleIndex) withdraw(entry);
          }
        },
      };
    },
    async dispose() {
      if (disposed) return;
      disposed = true;
      await running;
      abandon(disposedError());
      decoder.dispose();
      guessing?.dispose();
      live.dispose();
      packed?.dispose();
    },
  };
}

const disposedError = (): ConfigError =>
  new ConfigError({
    where: 'session',
    expected: 'a session in use',
    received: 'one that was disposed',
    fix: 'Create another one',
  });
