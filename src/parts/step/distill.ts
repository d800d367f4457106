/** A student's predictions against a teacher's, over the whole vocabulary: the skeleton of distillation. */
import { compareLogits } from '../../graph/compare-logits.ts';
import { after } from '../../graph/ops/control.ts';
import { cast, equal, mul } from '../../graph/ops/elementwise.ts';
import { argmax, sum } from '../../graph/ops/reduce.ts';
import { reshape } from '../../graph/ops/shape.ts';
import type { Tensor } from '../../graph/tensor.ts';
import { type CausalModel, type Weights, weightTypes } from '../../models/causal-model.ts';
import type { ModelWithParameters } from '../../models/lora-model.ts';
import {
  columnsOf,
  countLabels,
  type TokenExample,
  type TokenInputs,
  tokenArrays,
  tokenTypes,
} from '../batch.ts';
import { teacherFigures } from '../loss/distillation.ts';
import type { BatchSampling } from './batch-sampling.ts';
import type { TrainStep } from './train-step.ts';

/** A sequence to be taught on. */
export interface DistillExample extends TokenExample {
  /** Who wrote what is learned, where that was sampled in training; left out: the data. */
  readonly sampledBy?: 'student' | 'teacher';
}

export interface DistillStepOptions {
  /** Frozen, with the vocabulary of the student. */
  readonly teacher: ModelWithParameters;
  /** Logits [n, V] of student and teacher → loss per token [n], nats. */
  readonly loss: (student: Tensor, teacher: Tensor) => Tensor;
  /** Divides the logits of both before the loss. */
  readonly temperature: number;
  readonly sampling?: BatchSampling<DistillExample>;
}

const ofTeacher = (name: string): string => `teacher:${name}`;

/**
 * Mean loss per learned token. The teacher is read in the same program as the student, on the same tokens, and gets no gradient; of
 * both, only final hidden states are kept. Metrics: `entropy`, and how far the two are apart whatever the loss.
 */
export function distillStep({
  teacher,
  loss,
  temperature,
  sampling,
}: DistillStepOptions): TrainStep<DistillExample> {
  const types = Object.fromEntries(
    Object.entries(weightTypes(teacher.model)).map(([name, type]) => [ofTeacher(name), type]),
  );
  const frozen = Object.fromEntries(
    Object.entries(teacher.parameters.arrays()).map(([name, array]) => [ofTeacher(name), array]),
  );
  return {
    columns: ({ ids }) => columnsOf(ids.length),
    weight: countLabels,
    tokens: ({ ids }) => ids.length,
    types: (rows, columns) => ({
      ...types,
      ...tokenTypes(rows, columns, false),
      sequences: { dtype: 'float32', shape: [rows] },
      fromStudent: { dtype: 'float32', shape: [rows] },
      fromTeacher: { dtype: 'float32', shape: [rows] },
    }),
    arrays(examples, rows, columns) {
      const count = (counts: (example: DistillExample) => boolean): Float32Array => {
        const data = new Float32Array(rows);
        data.set(examples.map((example) => (counts(example) ? 1 : 0)));
        return data;
      };
      return {
        ...frozen,
        ...tokenArrays(examples, rows, columns, false),
        sequences: count(() => true),
        fromStudent: count(({ sampledBy }) => sampledBy === 'student'),
        fromTeacher: count(({ sampledBy }) => sampledBy === 'teacher'),
      };
    },
    trace({ model, weights, rematerialize }, inputs) {
      const { ids, positions, mask } = inputs as unknown as TokenInputs;
      const flat = (x: Tensor, ...rest: number[]): Tensor =>
        reshape(x, [ids.shape[0]! * ids.shape[1]!, ...rest]);
      const source = (of: CausalModel, its: Weights, hidden: Tensor) => ({
        hidden: flat(hidden, of.hiddenSize),
        head: of.head(its),
        cap: of.logitCap,
      });
      const teacherWeights = Object.fromEntries(
        teacher.model.parameters.map(({ name }) => [name, inputs[ofTeacher(name)]!]),
      );
      const taught = teacher.model.forward(teacherWeights, { ids, positions }).hidden;
      // The student waits for the teacher, of which by then hidden states alone are left.
      const own = model.forward(weights, { ids: after(ids, [taught]), positions, rematerialize }).hidden;
      const { loss: losses, figures } = compareLogits(
        source(model, weights, own),
        source(teacher.model, teacherWeights, taught),
        {
          loss,
          figures: (student, other) => ({
            ...teacherFigures(student, other),
            agreement: cast(equal(argmax(student), argmax(other)), 'float32'),
          }),
        },
        { temperature },
      );
      const counted = flat(mask);
      const total = (x: Tensor): Tensor => sum(mul(x, counted));
      return {
        loss: total(losses),
        sums: {
          labels: sum(mask),
          entropy: total(figures.entropy),
          forwardKl: total(figures.forwardKl),
          reverseKl: total(figures.reverseKl),
          agreement: total(figures.agreement),
          sequences: sum(inputs.sequences!),
          fromStudent: sum(inputs.fromStudent!),
          fromTeacher: sum(inputs.fromTeacher!),
        },
      };
    },
    summarize({ labels = 0, sequences = 0, ...totals }) {
      const perLabel = (name: string): number => (totals[name] ?? 0) / Math.max(labels, 1);
      const perSequence = (name: string): number => (totals[name] ?? 0) / Math.max(sequences, 1);
      return {
        entropy: perLabel('entropy'),
        'teacher/forward_kl': perLabel('forwardKl'),
        'teacher/reverse_kl': perLabel('reverseKl'),
        'teacher/agreement': perLabel('agreement'),
        'sampling/student_share': perSequence('fromStudent'),
        'sampling/teacher_share': perSequence('fromTeacher'),
        'completions/mean_length': labels / Math.max(sequences, 1),
      };
    },
    frozen: [teacher.parameters],
    ...(sampling && { sampling }),
  };
}
