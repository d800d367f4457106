/** `heed convert`: a model from one form to another. */
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import { field, section } from '../../core/config.ts';
import { CheckpointError, DataError } from '../../core/errors.ts';
import { companionFiles, licenseOf } from '../../models/companion-files.ts';
import { writeOnnxModel } from '../../models/export-onnx.ts';
import {
  baseOfAdapter,
  isAdapterFolder,
  isEncoder,
  isScoreModel,
  type LoadedClassifier,
  type LoadedModel,
  loadClassifier,
  loadModel,
  locateModel,
  mergeAdapter,
  saveModel,
  type WritableType,
} from '../../models/index.ts';
import { modelCard, publicId } from '../../models/model-card.ts';
import { writeFiles, writeModelFolder } from '../../models/write-folder.ts';
import { checkTokenizerFits, loadTokenizer, type Tokenizer } from '../../tokenizer/index.ts';
import type { CommandContext } from '../command.ts';
import { defineCommand } from '../command.ts';
import { formatNumber } from '../format.ts';

const TYPES = { float32: 'F32', bfloat16: 'BF16', float16: 'F16' } as const satisfies Record<
  string,
  WritableType
>;
type TypeName = keyof typeof TYPES;

const config = z.strictObject({
  ...section('Conversion', {
    input: field(z.string(), { placeholder: 'model' }).describe(
      'Hugging Face folder, .gguf file, llama2.c .bin file, adapter folder, or hub id (owner/name, owner/name@revision)',
    ),
    output: field(z.string(), { placeholder: 'folder' }).describe('folder to write; must be new or empty'),
    to: field(z.enum(['hf', 'onnx', 'merged']).default('hf')).describe(
      'hf: config.json and safetensors; onnx: what transformers.js loads; merged: hf, with the adapter in the weights',
    ),
    adapter: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'LoRA adapter to merge into the input, when the input is its base model',
    ),
    dtype: field(z.enum(['float32', 'bfloat16', 'float16']).optional()).describe(
      'stored numbers of hf and merged; default: those of the input folder, float32 for others. 16 bits halve the size and round',
    ),
    maxShardSize: field(z.number().positive().default(2)).describe('divide weights into files of so many GB'),
    tokenizer: field(z.string().optional(), { placeholder: 'folder' }).describe(
      'when it is not beside or inside the input',
    ),
  }),
});
type Settings = z.output<typeof config>;

export const command = defineCommand({
  config,
  positionals: ['input', 'output'],
  examples: [
    'convert SmolLM2-135M-Instruct.Q4_1.gguf models/smollm2 --dtype bfloat16',
    'convert runs/dpo/model exports/web --to onnx',
    'convert my-adapter models/merged --to merged',
    'convert HuggingFaceTB/SmolLM2-135M-Instruct models/smollm2',
  ],
  async run(settings, context) {
    const { input, output, to } = settings;
    checkOutput(input, output);
    const place = await locate(input, context);
    const loaded = await load(place, settings, context);
    // An adapter's folder has a card of its own and seldom a tokenizer: they come from the base model.
    const base = isAdapterFolder(place) ? await locateModel(baseOfAdapter(place)) : place;
    const tokenizer = await findTokenizer(settings, base, loaded, context);
    const files = {
      ...companionFiles(base, loaded.config),
      ...Object.fromEntries(tokenizer?.files ?? []),
      ...(to === 'onnx' && tokenizer !== undefined ? templateInside(tokenizer) : {}),
    };
    files['README.md'] ??= new TextEncoder().encode(card(settings, loaded, base));
    const stage = lazyStage(context, 'write', to === 'onnx' ? 'bytes' : 'numbers');
    if (to === 'onnx') {
      writeModelFolder(output, (folder) => {
        const keys = writeOnnxModel(folder, { ...loaded, onProgress: stage.update });
        const text = JSON.stringify({ ...loaded.config, ...keys }, null, 2);
        writeFileSync(join(folder, 'config.json'), `${text}\n`);
        writeFiles(folder, files);
      });
    } else {
      saveModel(output, {
        ...loaded,
        dtype: TYPES[settings.dtype ?? storedType(base, loaded)],
        files,
        maxShardBytes: settings.maxShardSize * 1e9,
        onWeights: stage.update,
      });
    }
    stage.end();
    report(settings, loaded, tokenizer !== undefined, context);
    return 0;
  },
});

type Loaded = LoadedModel | LoadedClassifier;

/** Adapters are merged into every form; `hf` and `merged` say whether there is one. */
function checkAdapter(adapted: boolean, { to, input }: Settings): void {
  if (adapted && to === 'hf') {
    throw new DataError({
      where: 'heed convert --to hf',
      expected: 'a model without adapter',
      received: `"${input}" with one`,
      fix: 'Use --to merged to write it into the weights',
    });
  }
  if (!adapted && to === 'merged') {
    throw new DataError({
      where: 'heed convert --to merged',
      expected: 'an adapter folder, or --adapter',
      received: `"${input}", a model without adapter`,
      fix: 'Use --to hf for a model that has no adapter',
    });
  }
}

/** Nothing is overwritten: conversions are quick, and what is there may not be. */
function checkOutput(input: string, output: string): void {
  if (!existsSync(output)) return;
  if (statSync(output).isDirectory() && readdirSync(output).length === 0) return;
  throw new DataError({
    where: 'heed convert: output',
    expected: 'a new name or an empty folder',
    received: `"${output}", which ${output === input ? 'is the input' : 'holds something'}`,
    fix: 'Name another folder, or remove this one first',
  });
}

async function locate(input: string, { progress }: CommandContext): Promise<string> {
  let stage: { name: string; update(done: number): void; end(): void } | undefined;
  const place = await locateModel(input, {
    onProgress(file, done, size) {
      if (stage?.name !== file) {
        stage?.end();
        stage = { name: file, ...progress.start(`fetch ${file}`, { total: size, unit: 'bytes' }) };
      }
      stage.update(done);
    },
  });
  stage?.end();
  return place;
}

async function load(place: string, settings: Settings, context: CommandContext): Promise<Loaded> {
  const { adapter } = settings;
  checkAdapter(adapter !== undefined || isAdapterFolder(place), settings);
  const stage = lazyStage(context, 'read', 'numbers');
  const options = { adapter, onWeights: stage.update };
  const loaded = isEncoder(place)
    ? await loadClassifier(place, options)
    : mergeAdapter(await loadModel(place, options));
  stage.end();
  return loaded;
}

/** A stage that starts with its first update, which knows the total. */
function lazyStage({ progress }: CommandContext, name: string, unit: string) {
  let stage: ReturnType<typeof progress.start> | undefined;
  return {
    update(done: number, total: number): void {
      stage ??= progress.start(name, { total, unit });
      stage.update(done);
    },
    end: () => stage?.end(),
  };
}

/** The tokenizer beside the model; undefined, with a warning, where there is none. One that was named must be there. */
async function findTokenizer(
  { tokenizer: named }: Settings,
  place: string,
  { model }: Loaded,
  { progress }: CommandContext,
): Promise<Tokenizer | undefined> {
  let tokenizer: Tokenizer;
  try {
    tokenizer = await loadTokenizer(named ?? place);
  } catch (error) {
    if (named !== undefined || !(error instanceof CheckpointError)) throw error;
    progress.note(`no tokenizer is written: ${error.message}`, 'warning');
    return undefined;
  }
  checkTokenizerFits(tokenizer, { vocabSize: model.vocabSize, where: place });
  return tokenizer;
}

/** tokenizer_config.json with the chat template in it: transformers.js (4.3.2) reads it there, not from a file of its own. */
function templateInside({ files, chatTemplate }: Tokenizer): Record<string, Uint8Array> {
  const name = 'tokenizer_config.json';
  const bytes = files.get(name);
  if (chatTemplate === undefined || bytes === undefined) return {};
  const settings = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  const text = `${JSON.stringify({ ...settings, chat_template: chatTemplate }, null, 2)}\n`;
  return { [name]: new TextEncoder().encode(text) };
}

/** The type that a folder's config names; float32 for what was dequantised. */
function storedType(place: string, { config }: Loaded): TypeName {
  const name = config.dtype ?? config.torch_dtype;
  return statSync(place).isDirectory() && typeof name === 'string' && name in TYPES
    ? (name as TypeName)
    : 'float32';
}

function card({ input, to }: Settings, { model, parameters }: Loaded, place: string): string {
  const source = existsSync(input) ? undefined : publicId(input);
  return modelCard({
    title: basename(input),
    summary:
      `Converted ${to === 'onnx' ? 'to ONNX ' : ''}from ${source === undefined ? `\`${basename(input)}\`` : `[${source}](https://huggingface.co/${source})`} by \`heed convert\`: ` +
      `\`${model.type}\`, ${parameters.count.toLocaleString('en')} parameters` +
      `${place.endsWith('.gguf') ? ', dequantised: the numbers are those that the quantised file stands for' : ''}.`,
    pipeline: givesLabels(model) ? 'text-classification' : 'text-generation',
    baseModel: source,
    license: licenseOf(place),
    tags: to === 'onnx' ? ['onnx', 'transformers.js'] : [],
  });
}

/** Whether a model gives numbers for labels instead of text. */
const givesLabels = (model: Loaded['model']): boolean => 'classify' in model || isScoreModel(model);

function report(
  { input, output, to }: Settings,
  { model, parameters }: Loaded,
  tokenizer: boolean,
  { output: out }: CommandContext,
): void {
  out.record({ input, output, to, type: model.type, parameters: parameters.count, tokenizer });
  out.text(`${model.type}, ${formatNumber(parameters.count)} parameters: ${output}`);
  const task = givesLabels(model) ? 'text-classification' : 'text-generation';
  if (to === 'onnx')
    out.text(
      out.colors.dim(
        `transformers.js: set env.localModelPath to the folder above, then pipeline("${task}", name)`,
      ),
    );
  else if (!givesLabels(model)) out.text(out.colors.dim(`heed generate --model ${output} "…"`));
}
