/** Configuration that every training method shares. Names that TRL uses for the same thing are accepted too. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { scheduleKinds } from '../../optim/schedule.ts';
import { reportTargets } from '../sinks/targets.ts';
import { dataFields } from './data-fields.ts';
import { loraFields } from './lora-fields.ts';
import { watchFields } from './watch-fields.ts';

/** The shared fields; a method spreads them into its own schema and replaces defaults where its paper does. */
export const trainerFields = {
  ...section('Model and data', {
    model: field(z.string(), { aliases: ['modelNameOrPath'], placeholder: 'folder' }).describe(
      'model to train: a Hugging Face folder, or a llama2.c .bin file',
    ),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'tokenizer folder or file, when it is not beside the model',
    ),
    ...dataFields,
    evaluationData: field(z.string().optional(), { aliases: ['evalData'], placeholder: 'file' }).describe(
      'held-out rows of the same format; of a folder the split validation, test or train',
    ),
    evaluationShare: field(z.number().min(0).max(0.9).default(0)).describe(
      'share of the training rows held out, when there is no evaluationData',
    ),
    maxRows: field(z.int().positive().optional()).describe('use only the first rows of the training data'),
    maxLength: field(z.int().min(2).default(512)).describe(
      'longest sequence in tokens; longer ones are cut and counted',
    ),
    truncation: field(z.enum(['error', 'keep-start', 'keep-end']).default('error'), {
      aliases: ['truncationMode'],
    }).describe(
      'a prompt that leaves no room for its completion: stop, or keep the start or the end of the prompt',
    ),
    refused: field(z.enum(['throw', 'drop']).default('throw')).describe(
      'a row that cannot be used: stop and name it, or leave it out and count it',
    ),
    output: field(z.string().optional(), { aliases: ['outputDir'], placeholder: 'folder' }).describe(
      'run folder; default runs/<method>-<model>',
    ),
    overwrite: field(z.boolean().default(false)).describe('replace a run folder that exists'),
    resume: field(z.boolean().default(false), { aliases: ['resumeFromCheckpoint'] }).describe(
      'go on from the last checkpoint of the run folder',
    ),
  }),
  ...section('Optimization', {
    epochs: field(z.number().positive().default(1), { aliases: ['numTrainEpochs'] }).describe(
      'passes over the training rows',
    ),
    maxSteps: field(z.int().positive().optional()).describe('optimizer steps, instead of epochs'),
    batchSize: field(z.int().positive().default(8)).describe('examples per optimizer step'),
    microBatchSize: field(z.int().positive().optional(), { aliases: ['perDeviceTrainBatchSize'] }).describe(
      'examples per forward pass, default all of batchSize; fewer save memory and change nothing else',
    ),
    learningRate: field(z.number().positive().default(2e-5)).describe('peak learning rate; TRL’s default'),
    schedule: field(z.enum(scheduleKinds).default('linear'), { aliases: ['lrSchedulerType'] }).describe(
      'learning rate over time',
    ),
    warmupSteps: field(z.int().min(0).default(0)).describe('steps over which the learning rate rises from 0'),
    minLearningRateRatio: field(z.number().min(0).max(1).default(0)).describe(
      'share of the peak at which linear and cosine end',
    ),
    optimizer: field(z.enum(['adamw', 'adam', 'sgd']).default('adamw'), { aliases: ['optim'] }).describe(
      'update rule',
    ),
    weightDecay: field(z.number().min(0).default(0)).describe(
      'decay of matrices; biases and norms never decay',
    ),
    adamBeta1: field(z.number().min(0).max(0.9999).default(0.9)).describe('decay of the mean of gradients'),
    adamBeta2: field(z.number().min(0).max(0.99999).default(0.999)).describe(
      'decay of the mean of squared gradients',
    ),
    adamEpsilon: field(z.number().positive().default(1e-8)).describe('added to the denominator of Adam'),
    momentum: field(z.number().min(0).max(0.9999).default(0)).describe('momentum of sgd'),
    maxGradNorm: field(z.number().min(0).default(1)).describe(
      'largest L2 norm of the gradient; 0 switches clipping off',
    ),
    seed: field(z.int().min(0).default(0)).describe('seed of every random choice'),
    shuffle: field(z.boolean().default(true)).describe('a new order of the rows in each epoch'),
    memory: field(z.string().optional(), { placeholder: 'size' }).describe(
      'memory limit such as 8GiB: the largest micro-batch that fits by the estimate of --dry-run, with gradientCheckpointing only where none fits without',
    ),
    gradientCheckpointing: field(z.boolean().default(false)).describe(
      'compute layers again for the gradient: less memory, about a third more time',
    ),
  }),
  ...loraFields,
  ...watchFields,
  ...section('Evaluation and files', {
    logEvery: field(z.int().positive().default(10), { aliases: ['loggingSteps'] }).describe(
      'steps between log records',
    ),
    evaluateEvery: field(z.int().min(0).default(0), { aliases: ['evalSteps'] }).describe(
      'steps between evaluations; 0: only before and after training',
    ),
    evaluationBatchSize: field(z.int().positive().default(8), {
      aliases: ['perDeviceEvalBatchSize'],
    }).describe('examples per forward pass of an evaluation'),
    bestMetric: field(z.string().optional(), {
      aliases: ['metricForBestModel'],
      placeholder: 'name',
    }).describe(
      'metric of the evaluations, such as loss or rewards/accuracies, whose best weights become the result; default: the last weights do',
    ),
    greaterIsBetter: field(z.boolean().optional()).describe(
      'whether more of bestMetric is better; default: no for losses, errors and perplexities, else yes',
    ),
    patience: field(z.int().min(0).default(0), { aliases: ['earlyStoppingPatience'] }).describe(
      'stop after so many evaluations without a new best of bestMetric; 0: never',
    ),
    saveEvery: field(z.int().min(0).default(0), { aliases: ['saveSteps'] }).describe(
      'steps between checkpoints; 0: only when interrupted',
    ),
    saveLimit: field(z.int().positive().default(2), { aliases: ['saveTotalLimit'] }).describe(
      'checkpoints kept; older ones are deleted',
    ),
    reportTo: field(z.array(z.enum(reportTargets)).default(['none']), { placeholder: 'names' }).describe(
      'also send metrics to these: tensorboard (files), wandb, mlflow, trackio, or all of them that are set up; metrics.jsonl and run.db are always written',
    ),
    dtype: field(z.enum(['float32', 'bfloat16', 'float16']).default('float32')).describe(
      'element type of the saved model; checkpoints are float32',
    ),
    threads: field(z.int().positive().optional()).describe(
      'threads of the engine; default: the machine’s cores',
    ),
  }),
};

/** Schema of the shared fields alone. */
export const trainerConfig = z.strictObject(trainerFields);
export type TrainerConfig = z.output<typeof trainerConfig>;
