/** The interface every engine implements: compile a traced program, bind memory, run. */
import type { HostArray, HostTensor } from '../core/host-tensor.ts';
import type { Program } from '../graph/program.ts';
import type { TensorType } from '../graph/tensor.ts';

/** Name, dtype and shape of a program's input or output. */
export interface TensorSpec extends TensorType {
  readonly name: string;
}

/** Arrays by name. They are used in place: an engine neither copies nor keeps them longer than the binding. */
export type Arrays = Readonly<Record<string, HostArray>>;

export interface CompileOptions {
  /** Inputs to freeze into the executable as they are now. They are prepacked: faster, but a copy. They leave `inputs`. */
  readonly constants?: Arrays;
  /** Names the executable in errors and profiles. */
  readonly name?: string;
}

/** Time spent in one kind of operation. */
export interface OpTime {
  readonly op: string;
  readonly calls: number;
  readonly microseconds: number;
}

/** Memory tied to an executable: repeated runs cost no set-up. */
export interface Binding {
  /** Arrays of all outputs: those passed to `bind`, and fresh ones for the rest. Overwritten by every run. */
  readonly outputs: Readonly<Record<string, HostTensor>>;
  /** Runs off the event loop. At most one run per binding at a time. */
  run(): Promise<void>;
  /** Runs on the calling thread: least overhead, for short programs in a tight loop. */
  runSync(): void;
  dispose(): void;
}

export interface Executable {
  readonly name: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Ties arrays to inputs (all of them) and outputs (any of them). Throws `EngineError` on an unknown name, a missing input, a wrong dtype or size. */
  bind(inputs: Arrays, outputs?: Arrays): Binding;
  /** `bind`, `run`, `dispose` in one. */
  run(inputs: Arrays, outputs?: Arrays): Promise<Readonly<Record<string, HostTensor>>>;
  /** Time per operation since compile, when the engine was created with `profile: true`; else throws `EngineError`. Ends profiling. */
  profile(): readonly OpTime[];
  dispose(): void;
}

export interface EngineOptions {
  /** Threads inside one operation; default: the machine's cores. */
  readonly threads?: number;
  /** Record time per operation (slower). */
  readonly profile?: boolean;
}

export interface Engine {
  readonly name: string;
  compile(program: Program, options?: CompileOptions): Promise<Executable>;
  /** Disposes every executable that is still alive. */
  dispose(): void;
}
