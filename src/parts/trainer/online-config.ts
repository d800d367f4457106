/** Configuration that every method which samples shares: the trainer's, less evaluation, with rollouts. */
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { trainerFields } from './config.ts';
import { dataFields } from './data-fields.ts';
import { rewardFields } from './reward-fields.ts';
import { onlineWatchFields } from './watch-fields.ts';

const {
  evaluationData: _evaluationData,
  evaluationShare: _evaluationShare,
  evaluateEvery: _evaluateEvery,
  evaluationBatchSize: _evaluationBatchSize,
  bestMetric: _bestMetric,
  greaterIsBetter: _greaterIsBetter,
  patience: _patience,
  epochs: _epochs,
  maxSteps: _maxSteps,
  ...shared
} = trainerFields;

const inOptimization = { group: 'Optimization' };
const inFiles = { group: 'Evaluation and files' };

export const onlineFields = {
  ...shared,
  ...onlineWatchFields,
  data: field(dataFields.data, { group: 'Model and data' }).describe(
    'rows with `prompt` as text or messages: a file, a folder with splits, or a data set of the hub; several: a,b or the flag again',
  ),
  maxLength: field(z.int().min(2).default(512), { group: 'Model and data' }).describe(
    'longest prompt in tokens; prompt and completion together must fit the context of the model',
  ),
  batchSize: field(z.int().positive().default(64), inOptimization).describe('completions per iteration'),
  miniBatchSize: field(z.int().positive().optional(), inOptimization).describe(
    'completions per optimizer step; default all of batchSize',
  ),
  microBatchSize: field(z.int().positive().optional(), {
    aliases: ['perDeviceTrainBatchSize'],
    group: 'Optimization',
  }).describe('completions per forward pass of an update; default miniBatchSize'),
  logEvery: field(z.int().positive().default(1), { aliases: ['loggingSteps'], ...inFiles }).describe(
    'iterations between log records',
  ),
  saveEvery: field(z.int().min(0).default(0), { aliases: ['saveSteps'], ...inFiles }).describe(
    'iterations between checkpoints; 0: only when interrupted',
  ),
  rolloutLimit: field(z.number().min(0).default(64), inFiles).describe(
    'MB of completions with their numbers kept in run.db, the newest; `heed rollouts` shows them; 0: none',
  ),
  ...section('Rollouts', {
    ...rewardFields,
    normalizeScores: field(z.boolean().default(true)).describe(
      'scores less the mean and over the deviation in the reward model’s card, where it has one',
    ),
    iterations: field(z.int().positive().default(100), { aliases: ['numTotalBatches'] }).describe(
      'rollouts with their updates',
    ),
    completionsPerPrompt: field(z.int().positive().default(1), { aliases: ['numGenerations'] }).describe(
      'completions of each prompt; must divide batchSize',
    ),
    updateEpochs: field(z.int().positive().default(4), { aliases: ['numPpoEpochs'] }).describe(
      'passes over the completions of an iteration; TRL’s default',
    ),
    maxNewTokens: field(z.int().positive().default(53), {
      aliases: ['responseLength', 'maxCompletionLength'],
    }).describe('longest completion in tokens; TRL’s default'),
    temperature: field(z.number().positive().default(1)).describe(
      'divides the logits when sampling, and in every log-probability; other than 1 costs one more pass per iteration',
    ),
    topP: field(z.number().min(0.01).max(1).default(1)).describe(
      'sample from the most likely tokens that reach this probability; below 1 the ratio to the sampler is biased',
    ),
    curriculum: field(z.enum(['none', 'success']).default('none')).describe(
      'which prompts come next: all in turn, or by weight p(1 − p), p the running success rate of a prompt',
    ),
    curriculumSuccess: field(z.number().default(0.5)).describe(
      'a completion with this score or more counts as a success for the curriculum',
    ),
    scoringBatchSize: field(z.int().positive().default(64)).describe(
      'completions per forward pass without gradients, and rows decoded together',
    ),
  }),
};

/** Controllers that hold a metric at a target; all off by default. */
export const targetFields = section('Targets', {
  entropyTarget: field(z.number().positive().optional()).describe(
    'mean token entropy to hold, nats: the weight of the entropy bonus then follows it; default: off',
  ),
  entropyRate: field(z.number().positive().default(0.005)).describe(
    'change of that weight per nat of error and iteration',
  ),
  lengthTarget: field(z.number().positive().optional()).describe(
    'mean completion length to hold, tokens: a cost of length, relative to maxNewTokens, then follows it; default: off',
  ),
  lengthRate: field(z.number().positive().default(0.1)).describe(
    'change of that cost, in units of score, per relative error and iteration',
  ),
  learningRateKl: field(z.number().positive().optional(), { aliases: ['desiredKl'] }).describe(
    'KL to the policy at rollout that an iteration should move, nats per token: the learning rate then follows it; needs more than one update per iteration; default: off',
  ),
});

/** Of methods that compare the completions of a prompt: how many by default, and one pass over them. */
export const groupFields = (completions: number) => ({
  completionsPerPrompt: field(z.int().min(2).default(completions), {
    aliases: ['numGenerations'],
    group: 'Rollouts',
  }).describe('completions of each prompt, which are compared; must divide batchSize'),
  updateEpochs: field(z.int().positive().default(1), {
    aliases: ['numIterations'],
    group: 'Rollouts',
  }).describe('passes over the completions of an iteration; 1 is on-policy'),
});

/** Schema of the shared fields alone. */
export const onlineConfig = z.strictObject(onlineFields);
export type OnlineConfig = z.output<typeof onlineConfig>;
