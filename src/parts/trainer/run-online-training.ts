/** One run of an online method, from a resolved configuration to a saved model. */
import { basename, dirname, join } from 'node:path';
import { isLoraModel } from '../../models/lora-model.ts';
import { checkTokenizerFits, loadTokenizer } from '../../tokenizer/index.ts';
import { columnBucket } from '../batches.ts';
import type { OnlineMethod } from '../online-method.ts';
import { openRewardModel } from '../scorer/open-reward-model.ts';
import { readRewardCard } from '../scorer/reward-card.ts';
import type { Reward } from '../scorer/weighted-scorer.ts';
import { inRunFolder } from './in-run-folder.ts';
import { loadPrompts } from './load-prompts.ts';
import type { OnlineHooks } from './online.ts';
import { fitOnline } from './online-memory.ts';
import { loadOnlineModels, type OnlineModels } from './online-models.ts';
import { openRewards, rewardSources } from './reward-fields.ts';
import { runCard } from './run-card.ts';
import { openRunFolder } from './run-folder.ts';
import { checkSizes, type OnlineRunConfig, runOnline } from './run-online.ts';
import {
  adapterOf,
  checkpointsKept,
  fingerprint,
  noteChoice,
  type RunContext,
  type RunSummary,
  storedTypes,
  watchOf,
} from './run-training.ts';

/** What methods may add to the shared configuration. */
export type OnlineTrainingConfig = OnlineRunConfig & { readonly criticFrom?: 'policy' | 'reward-model' };

export interface OnlineRunContext extends RunContext {
  /** Environment variables, for the keys of judges. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Looks at the completions of an iteration with their scores, before anything is learned from them. */
  readonly onRollouts?: OnlineHooks['rollouts'];
}

/**
 * Loads policy, reward model, tokenizer and prompts, trains, and writes the run folder.
 *
 * @throws DataError, CheckpointError, ConfigError on bad input; NumericError when a number is not finite
 */
export async function runOnlineTraining(
  method: OnlineMethod,
  config: OnlineTrainingConfig,
  { engine, configText, clock, interrupted, observer, open, onRollouts, env = {} }: OnlineRunContext,
): Promise<RunSummary> {
  const started = clock();
  const folder = config.output ?? join('runs', `${method.id}-${basename(config.model)}`);
  const { models, tokenizer, prompts, rows, step } = await openOnlineRun(
    method,
    config,
    observer,
    join(dirname(folder), '.cache'),
  );
  const { policy, reference, critic, rewardModels } = models;
  const fitted = fitOnline({ models, prompts, step, config });
  if (config.memory !== undefined) noteChoice(fitted, observer);

  const rewardOfModel = (folder: string, name: string): Reward => {
    return openRewardModel({
      ...{ card: readRewardCard(folder), name, engine, tokenizer, loaded: rewardModels.get(folder)! },
      ...{ batchSize: Math.min(config.scoringBatchSize, config.batchSize), bucket: columnBucket },
      normalize: config.normalizeScores,
    });
  };
  const scorer = await openRewards(config, rewardOfModel, { env, seed: config.seed });

  try {
    const run = openRunFolder({
      folder,
      overwrite: config.overwrite,
      resume: config.resume,
      configText,
      fingerprint: fingerprint(method.id, config, rows),
      saveLimit: checkpointsKept(config),
      modelConfig: policy.config,
      modelFiles: Object.fromEntries(tokenizer.files),
      ...adapterOf(policy.model, config.model),
      card: (history) =>
        runCard(
          {
            ...{ method, model: config.model, data: [config.data].flat(), configText },
            ...{ modelConfig: policy.config, adapter: isLoraModel(policy.model) },
          },
          history,
        ),
    });
    return await inRunFolder(run, open, async () => {
      // Reference and critic were made from the policy as loaded, before a checkpoint replaces its weights.
      const resume = config.resume ? run.loadCheckpoint(policy.parameters) : undefined;
      if (config.resume) {
        const { step } = resume ?? {};
        observer.note(
          step === undefined
            ? 'no checkpoint to resume from: starting anew'
            : `resuming after iteration ${step}`,
        );
      }
      let saved = '';
      const result = await runOnline({
        ...{ engine, config: { ...config, ...fitted }, policy, reference, scorer, prompts, clock },
        ...(critic && { critic }),
        step,
        stopIds: new Set(tokenizer.eosId === undefined ? [] : [tokenizer.eosId]),
        decode: (ids) => tokenizer.decode(ids),
        hooks: {
          log(record) {
            const { step } = record;
            if (step === undefined || (step % config.logEvery !== 0 && step !== config.iterations)) return;
            run.log(record);
            observer.metrics(record);
          },
          progress: ({ iteration, iterations, score }) =>
            observer.stage('train', iteration, iterations, { score }),
          async save(state) {
            saved = run.saveCheckpoint(state, policy.parameters);
            observer.note(`saved ${saved}`);
          },
          interrupted,
          restore: async (before) => run.loadCheckpoint(policy.parameters, before),
          ...(observer.rollouts !== undefined && { record: observer.rollouts }),
          ...(onRollouts === undefined ? {} : { rollouts: onRollouts }),
        },
        watch: watchOf(method.id, config, folder, observer),
        ...(resume === undefined ? {} : { resume }),
      });
      if (result.outcome === 'done') saved = run.saveModel(policy.parameters, storedTypes[config.dtype]);
      const { outcome, iterations: steps, first, last } = result;
      return { outcome, folder, saved, steps, first, last, milliseconds: clock() - started };
    });
  } finally {
    scorer.dispose();
  }
}

/**
 * Loads and checks everything an online run starts from; no run folder is made.
 *
 * @param cacheFolder keeps the encoded prompts of large data sets; none when left out
 */
export async function openOnlineRun(
  method: OnlineMethod,
  config: OnlineTrainingConfig,
  observer: RunContext['observer'],
  cacheFolder?: string,
) {
  const models: OnlineModels = await loadOnlineModels(config, {
    critic: method.needs.includes('critic'),
    rewardModels: rewardSources(config).flatMap((source) => (source.kind === 'model' ? [source.folder] : [])),
  });
  const { policy, critic } = models;
  const tokenizer = await loadTokenizer(config.tokenizer ?? config.model);
  checkTokenizerFits(tokenizer, {
    vocabSize: policy.model.vocabSize,
    where: config.tokenizer ?? config.model,
  });
  const { prompts, rows } = await loadPrompts(config, tokenizer, observer, cacheFolder);
  const step = method.build(config);
  checkSizes({ step, config, policy, prompts, ...(critic && { critic }) });
  return { models, tokenizer, prompts, rows, step };
}
