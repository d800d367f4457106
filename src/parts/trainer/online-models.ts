/** The models of an online run: policy, reference, critic and reward model, over as few weights as they need. */
import { resolve } from 'node:path';
import { ConfigError } from '../../core/errors.ts';
import { baseNameOf, isAdapterFolder, loadAdapter } from '../../models/adapter-folder.ts';
import { type LoadedModel, loadModel } from '../../models/checkpoint.ts';
import { attachLora, isLoraModel, type ModelWithParameters } from '../../models/lora-model.ts';
import { headModules, isScoreModel, scoreModelFrom } from '../../models/score-model.ts';
import { type LoraFields, loadToTrain, loraConfigOf, withLora } from './lora-fields.ts';
import type { Weighted } from './online.ts';
import { criticFrom } from './run-online.ts';

export interface OnlineModels {
  readonly policy: LoadedModel;
  /** The policy before training: with a new adapter, the base alone. */
  readonly reference: Weighted;
  /** Only where it was asked for. */
  readonly critic?: Weighted;
  /** By folder as named in the configuration. */
  readonly rewardModels: ReadonlyMap<string, LoadedModel>;
}

export interface OnlineModelsConfig extends LoraFields {
  readonly model: string;
  readonly rewardModel?: string | undefined;
  readonly criticFrom?: 'policy' | 'reward-model';
  readonly seed: number;
}

export interface OnlineModelsNeeds {
  readonly critic: boolean;
  /** Folders of reward models; that of the configuration when left out. */
  readonly rewardModels?: readonly string[];
}

/**
 * Loads policy and reward models and makes reference and critic. With adapters, everything that stands on the same base
 * shares its memory: reference (the adapter switched off), critic, and a reward model that is an adapter on that base.
 * Without, each has weights of its own.
 *
 * @throws ConfigError when a model has the wrong kind of head, or the vocabularies differ
 */
export function loadOnlineModels(config: OnlineModelsConfig): Promise<Required<OnlineModels>>;
export function loadOnlineModels(config: OnlineModelsConfig, needs: OnlineModelsNeeds): Promise<OnlineModels>;
export async function loadOnlineModels(
  config: OnlineModelsConfig,
  needs: OnlineModelsNeeds = { critic: true },
): Promise<OnlineModels> {
  const source = await loadToTrain(config);
  if (isScoreModel(source.model)) {
    throw new ConfigError({
      where: '--model',
      expected: 'a language model',
      received: `"${config.model}", which has a score head`,
      fix: 'Name the supervised model here, and this one as --reward-model',
    });
  }
  const policy = withLora(source, config);
  const rewardModels = new Map<string, LoadedModel>();
  for (const folder of needs.rewardModels ?? [config.rewardModel].filter((name) => name !== undefined)) {
    const rewardModel = await loadRewardModel(folder, source, config.model);
    if (rewardModel.model.vocabSize !== source.model.vocabSize) {
      throw new ConfigError({
        where: folder === config.rewardModel ? '--reward-model' : `--reward ${folder}`,
        expected: `the policy's vocabulary of ${source.model.vocabSize} tokens`,
        received: String(rewardModel.model.vocabSize),
        fix: 'Use a reward model with the same tokenizer',
      });
    }
    rewardModels.set(folder, rewardModel);
  }
  const reference = config.lora ? source : { model: policy.model, parameters: policy.parameters.copy() };
  if (!needs.critic) return { policy, reference, rewardModels };
  if (config.criticFrom !== 'reward-model')
    return { policy, reference, critic: criticFrom(policy), rewardModels };
  const [rewardModel] = rewardModels.values();
  if (rewardModel === undefined) {
    throw new ConfigError({
      where: 'criticFrom',
      expected: 'policy, as there is no reward model',
      received: 'reward-model',
      fix: 'Name one with --reward-model, or leave criticFrom out',
    });
  }
  return { policy, reference, critic: criticFromReward(rewardModel, config), rewardModels };
}

/** An adapter on the policy's base stands on the memory that is there. */
async function loadRewardModel(folder: string, policy: LoadedModel, name: string): Promise<LoadedModel> {
  if (isAdapterFolder(folder) && sameSource(baseNameOf(folder), baseNameOf(name))) {
    const base = baseOf(policy);
    return { ...policy, ...loadAdapter(folder, base), source: folder };
  }
  return loadModel(folder);
}

/** The model below an adapter, in the same memory; a model without adapter is its own base. */
function baseOf({ model, parameters }: ModelWithParameters): ModelWithParameters {
  if (!isLoraModel(model)) return { model, parameters };
  if (model.lora.whole.size > 0) {
    throw new ConfigError({
      where: '--reward-model',
      expected: 'a base that the policy leaves as it is',
      received: `a policy with modules that are trained whole (${[...model.lora.whole][0]}, …)`,
      fix: 'Merge one of the two first: heed convert <in> <out> --to merged',
    });
  }
  return { model: model.base, parameters };
}

const sameSource = (a: string, b: string): boolean => a === b || resolve(a) === resolve(b);

/** A critic that starts as the reward model; with an adapter, on its weights. */
function criticFromReward(rewardModel: LoadedModel, config: OnlineModelsConfig): Weighted {
  const { model, parameters } = rewardModel;
  if (isLoraModel(model)) return { model, parameters: parameters.copy() };
  if (config.lora) return attachLora(rewardModel, loraConfigOf(config, headModules(rewardModel.model)));
  return scoreModelFrom(rewardModel, {});
}
