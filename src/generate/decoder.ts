/** Prefill and decode of rows in slots: owns compiled programs, bound memory and the cache, and knows no sampling. */
import type { HostArray, HostTensor } from '../core/host-tensor.ts';
import type { Arrays, Binding, Engine, Executable } from '../engine/engine.ts';
import { createProgramCache, type ProgramCache } from '../engine/program-cache.ts';
import type { CausalModel } from '../models/causal-model.ts';
import type { SlotCache } from './cache.ts';
import {
  cacheTensorNames,
  decodeProgram,
  type PrefillShape,
  prefillProgram,
  verifyProgram,
} from './programs.ts';
import { layoutPrompts, prefillTokens, runsOf } from './prompt-layout.ts';
import { rowViews } from './row.ts';
import type { RowOutputs } from './sample.ts';

type Outputs = Readonly<Record<string, HostTensor>>;

/** Programs over live weights, or over weights frozen into them. */
export interface Programs {
  prefill(shape: PrefillShape): Promise<Executable>;
  decode(rows: number, positions: number): Promise<Executable>;
  /** `tokens` tokens per row at once. */
  verify(rows: number, tokens: number, positions: number): Promise<Executable>;
  /** Weights to bind: none when they are frozen. */
  readonly weights: Arrays;
  dispose(): void;
}

/** Programs kept, those of prompts and those of steps apart: prompts of many lengths must not end a step in use. */
const programLimit = 12;

export function createPrograms(
  engine: Engine,
  model: CausalModel,
  weights: Arrays,
  frozen: boolean,
  prefillLimit = programLimit,
): Programs {
  const prefills: ProgramCache = createProgramCache(engine, { limit: prefillLimit });
  const steps: ProgramCache = createProgramCache(engine, { limit: programLimit });
  const options = frozen ? { constants: weights } : {};
  return {
    weights: frozen ? {} : weights,
    prefill(shape) {
      const { prompts, rows, columns, packed } = shape;
      const name = `prefill ${prompts} in ${rows}×${columns}${packed ? ' packed' : ''}`;
      return prefills.get(name, () => prefillProgram(model, shape), options);
    },
    decode: (B, M) => steps.get(`decode ${B}×${M}`, () => decodeProgram(model, B, M), options),
    verify: (B, T, M) => steps.get(`verify ${B}×${T}×${M}`, () => verifyProgram(model, B, T, M), options),
    dispose() {
      prefills.dispose();
      steps.dispose();
    },
  };
}

/** What the decoder has to know of a row. */
export interface DecodedRow {
  readonly prompt: ArrayLike<number>;
  readonly ids: readonly number[];
  readonly options: { readonly temperature: number };
}

export interface Decoder {
  /**
   * Runs prompts and puts their keys and values into slots: `targets[i]` lists the rows of prompt i and the slot of each.
   * Calls `visit` with what each prompt's next token is drawn from.
   */
  prefill(
    targets: readonly (readonly { readonly row: DecodedRow; readonly slot: number }[])[],
    visit: (outputs: RowOutputs, index: number) => void,
  ): Promise<void>;
  /** One token for the rows in slots 0 … rows.length − 1 (undefined: idle). */
  step(rows: readonly (DecodedRow | undefined)[]): Promise<readonly RowOutputs[]>;
  /** Moves a row to another slot. */
  move(from: number, to: number, row: DecodedRow): void;
  dispose(): void;
}

export interface DecoderOptions {
  readonly model: CausalModel;
  /** Where to run prefills: they are too few to pay for packing. */
  readonly prefill: Programs;
  readonly decode: Programs;
  /** Where keys and values live: its contents need not outlive the decoder. */
  readonly cache: SlotCache;
  /** Runs a binding, at once or off the event loop, and times it. */
  readonly run: (binding: Binding) => void | Promise<void>;
  /** The same for decode steps; `run` when left out. */
  readonly runStep?: ((binding: Binding) => void | Promise<void>) | undefined;
  /** Length that prompts are padded to, from that of the longest; the next multiple of 16 when left out. */
  readonly padded?: ((longest: number) => number) | undefined;
}

/** Prompts are padded to a multiple of this. */
const promptBucket = 16;
const roundUp = (n: number, multiple: number): number => Math.ceil(n / multiple) * multiple;
const powerOfTwo = (n: number): number => 2 ** Math.ceil(Math.log2(n));
const inverse = (temperature: number): number => (temperature > 0 ? 1 / temperature : 1);

export function createDecoder(options: DecoderOptions): Decoder {
  const { model, cache, run, runStep = run, padded = (longest) => roundUp(longest, promptBucket) } = options;
  const passes = prefillPasses(options.prefill);
  let current: DecodeStep | undefined;

  type Targets = Parameters<Decoder['prefill']>[0];

  /** Prompts of one run: those of `targets`, which stand at `first` and after among all. */
  async function prefillRun(
    targets: Targets,
    first: number,
    visit: Parameters<Decoder['prefill']>[1],
  ): Promise<void> {
    const prompts = targets.map(([copy]) => copy!.row.prompt);
    const layout = layoutPrompts(
      prompts.map(({ length }) => length),
      model.maxPositions,
      padded,
    );
    const { columns, places } = layout;
    const pass = await passes.take({ prompts: powerOfTwo(targets.length), ...layout });
    const { idWords, positionWords, segments, lastWords, inverseTemperature, binding } = pass;
    // What earlier prompts left behind these is seen by none of them: attention looks back.
    for (const [index, prompt] of prompts.entries()) {
      const from = places[index]!.row * columns + places[index]!.start;
      for (let t = 0; t < prompt.length; t++) {
        idWords[2 * (from + t)] = prompt[t]!;
        positionWords[2 * (from + t)] = t;
      }
      segments.fill(index + 1, from, from + prompt.length);
      lastWords[2 * index] = from + prompt.length - 1;
      inverseTemperature[index] = inverse(targets[index]![0]!.row.options.temperature);
    }
    try {
      await run(binding);
      for (const [index, copies] of targets.entries()) {
        const entries = { ...places[index]!, length: prompts[index]!.length, columns };
        for (const { slot } of copies) cache.fill(slot, pass.arrays, entries);
        visit(pass.views[index]!, first + index);
      }
    } finally {
      passes.giveBack(pass);
    }
  }

  return {
    async prefill(targets, visit) {
      const lengths = targets.map(([copy]) => padded(copy!.row.prompt.length));
      for (const [start, end] of runsOf(lengths, prefillTokens)) {
        await prefillRun(targets.slice(start, end), start, visit);
      }
    },
    async step(rows) {
      if (current === undefined || current.size !== rows.length) {
        const executable = await options.decode.decode(rows.length, cache.positions);
        current?.binding.dispose();
        current = bindStep(model, executable, options.decode.weights, cache, rows.length);
      }
      const { ids, lengths, lengthWords, inverseTemperature, binding } = current;
      for (let slot = 0; slot < rows.length; slot++) {
        const row = rows[slot];
        ids[2 * slot] = row === undefined ? 0 : row.ids.at(-1)!;
        lengthWords[2 * slot] = row === undefined ? 0 : row.prompt.length + row.ids.length - 1;
        inverseTemperature[slot] = row === undefined ? 1 : inverse(row.options.temperature);
      }
      await runStep(binding);
      if (model.inPlaceCache !== true) cache.append(dataOf(binding.outputs), lengths);
      return current.views;
    },
    move: (from, to, row) => cache.copy(from, to, row.prompt.length + row.ids.length - 1),
    dispose() {
      passes.dispose();
      current?.binding.dispose();
    },
  };
}

/** Bytes of bound prefills that are kept for the next prompts of the same layout: memory that is new costs more than it holds. */
const keptPrefillBytes = 2 ** 25;

/** A bound prefill. Of its int64 inputs, the 32-bit words, low words first as on every platform of the engine. */
interface PrefillPass {
  readonly executable: Executable;
  readonly binding: Binding;
  readonly views: readonly RowOutputs[];
  readonly arrays: Arrays;
  readonly bytes: number;
  /** [rows, columns] */
  readonly idWords: Int32Array;
  readonly positionWords: Int32Array;
  /** [rows, columns] of packed rows; else empty. */
  readonly segments: Int32Array;
  /** [prompts] */
  readonly lastWords: Int32Array;
  readonly inverseTemperature: Float32Array;
}

/** Prefills by their layout: each is taken, filled, run and given back. */
function prefillPasses(programs: Programs) {
  /** The one given back last is last. A program that was compiled again since has another executable. */
  const kept = new Map<Executable, PrefillPass>();
  return {
    async take(shape: PrefillShape): Promise<PrefillPass> {
      const executable = await programs.prefill(shape);
      const pass = kept.get(executable) ?? bindPrefill(executable, programs.weights, shape);
      kept.delete(executable);
      return pass;
    },
    giveBack(pass: PrefillPass): void {
      kept.set(pass.executable, pass);
      let total = 0;
      for (const { bytes } of kept.values()) total += bytes;
      for (const [executable, { binding, bytes }] of kept) {
        if (total <= keptPrefillBytes) break;
        binding.dispose();
        kept.delete(executable);
        total -= bytes;
      }
    },
    dispose(): void {
      for (const { binding } of kept.values()) binding.dispose();
      kept.clear();
    },
  };
}

function bindPrefill(executable: Executable, weights: Arrays, shape: PrefillShape): PrefillPass {
  const { prompts, rows, columns, packed } = shape;
  const ids = new BigInt64Array(rows * columns);
  const positions = new BigInt64Array(rows * columns);
  const last = new BigInt64Array(prompts);
  const segments = new Int32Array(packed ? rows * columns : 0);
  const inverseTemperature = new Float32Array(prompts).fill(1);
  const binding = executable.bind({
    ...weights,
    ...{ ids, positions, last, inverseTemperature, ...(packed ? { segments } : {}) },
  });
  const arrays = dataOf(binding.outputs);
  return {
    ...{ executable, binding, arrays, segments, inverseTemperature },
    views: rowViews(binding.outputs),
    bytes: Object.values(arrays).reduce((sum, { byteLength }) => sum + byteLength, 0),
    idWords: new Int32Array(ids.buffer),
    positionWords: new Int32Array(positions.buffer),
    lastWords: new Int32Array(last.buffer),
  };
}

interface DecodeStep {
  readonly size: number;
  readonly binding: Binding;
  readonly views: readonly RowOutputs[];
  /** 32-bit words of int64 [size], low words first as on every platform of the engine: no BigInt is made per token. */
  readonly ids: Int32Array;
  readonly lengthWords: Int32Array;
  readonly lengths: BigInt64Array;
  readonly inverseTemperature: Float32Array;
}

function bindStep(
  model: CausalModel,
  executable: Executable,
  weights: Arrays,
  cache: SlotCache,
  size: number,
): DecodeStep {
  const ids = new BigInt64Array(size);
  const lengths = new BigInt64Array(size);
  const inverseTemperature = new Float32Array(size).fill(1);
  const past = cache.arrays(size);
  const shared: Record<string, HostArray> = {};
  if (model.inPlaceCache === true)
    for (const name of cacheTensorNames(model)) shared[`new.${name}`] = past[name]!;
  const binding = executable.bind({ ...weights, ...past, ids, lengths, inverseTemperature }, shared);
  return {
    ...{ size, binding, views: rowViews(binding.outputs), lengths, inverseTemperature },
    ids: new Int32Array(ids.buffer),
    lengthWords: new Int32Array(lengths.buffer),
  };
}

const dataOf = (outputs: Outputs): Arrays =>
  Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
