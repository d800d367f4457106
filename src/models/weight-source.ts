/** Tensors of a checkpoint, whatever its file format. */
import type { Shape } from '../core/shapes.ts';

/** A stored tensor that can be read as float32. */
export interface WeightSource {
  /** File and tensor, for messages. */
  readonly where: string;
  readonly shape: Shape;
  /** Fills memory of exactly the tensor's size. Throws `CheckpointError`. */
  read(out: Float32Array): void;
}
