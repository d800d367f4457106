import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectClose, sharedOrt } from '../../../test/support/engines-agree.ts';
import { evaluate, goldenFolder, readGolden } from '../../../test/support/golden-model.ts';
import { runHeed } from '../../../test/support/run-heed.ts';
import { buildModel, loadModel, readClassifier, readModel, saveModel } from '../../models/index.ts';
import { allocateParameters } from '../../nn/parameters.ts';
import { loadTokenizer } from '../../tokenizer/index.ts';

let place: string;
beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'heed-convert-'));
});
afterEach(() => rmSync(place, { recursive: true }));
const at = (...parts: string[]): string => join(place, ...parts);
const gguf = join(goldenFolder('gguf'), 'llama.gguf');
const json = (...parts: string[]): Record<string, unknown> => JSON.parse(readFileSync(at(...parts), 'utf8'));

describe('heed convert', () => {
  it('writes a GGUF file as a folder that is the same model', async () => {
    const { code, stdout, stderr } = await runHeed([
      'convert',
      gguf,
      at('out'),
      '--tokenizer',
      join(goldenFolder('gguf'), 'tokenizer-gpt-2.gguf'),
    ]);
    // The vocabulary of that tokenizer is larger than the model's.
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('ids below 24');

    const alone = await runHeed(['convert', gguf, at('out')]);
    expect(alone.code).toBe(0);
    // 24·16 + 2·(2·16 + 2·16·16 + 2·8·16 + 3·20·16) + 16.
    expect(alone.stdout).toContain('llama, 3,920 parameters');
    expect(alone.stderr).toContain('no tokenizer is written');
    expect(readdirSync(at('out')).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
    ]);
    expect((await loadModel(at('out'))).parameters.flat).toEqual(readModel(gguf).parameters.flat);
    expect(json('out', 'config.json')).toMatchObject({
      torch_dtype: 'float32',
      architectures: ['LlamaForCausalLM'],
    });
    expect(json('out', 'generation_config.json')).toEqual({ bos_token_id: 1, eos_token_id: 2 });
    expect(readFileSync(at('out', 'README.md'), 'utf8')).toContain('`llama`, 3,920 parameters, dequantised');
  });

  it('keeps what belongs to a folder, its element type and keys that are nobody’s', async () => {
    const { config, parameters } = readModel(goldenFolder('llama-plain'));
    const files = {
      'generation_config.json': '{"do_sample": true}',
      LICENSE: 'mine',
      'README.md': 'my card',
      'chat_template.jinja': '{{ messages }}',
      'trainer_state.json': '{}',
      'notes.bin': 'x',
    };
    saveModel(at('in'), {
      config: { ...config, mine: [1] },
      parameters,
      dtype: 'BF16',
      files,
    });
    const { code } = await runHeed(['convert', at('in'), at('out'), '--max-shard-size', '0.000003']);
    expect(code).toBe(0);
    const names = readdirSync(at('out'));
    expect(names.filter((name) => !/^model-\d+-of-\d+\.safetensors$/.test(name)).sort()).toEqual([
      'LICENSE',
      'README.md',
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'model.safetensors.index.json',
    ]);
    expect(names.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(2);
    expect(json('out', 'config.json')).toMatchObject({ mine: [1], torch_dtype: 'bfloat16' });
    expect(readFileSync(at('out', 'README.md'), 'utf8')).toBe('my card');
    expect(json('out', 'generation_config.json')).toEqual({ do_sample: true });
    expect(readModel(at('out')).parameters.flat).toEqual(readModel(at('in')).parameters.flat);
  });

  it('carries the tokenizer of a GGUF file', async () => {
    // A model of as many tokens as the vocabulary, with the vocabulary beside it.
    const { config } = readModel(goldenFolder('llama-plain'));
    const tokenizerFile = join(goldenFolder('gguf'), 'tokenizer-qwen2.gguf');
    const tokenizer = await loadTokenizer(tokenizerFile);
    const wide = { ...config, vocab_size: tokenizer.vocabSize };
    saveModel(at('in'), { config: wide, parameters: allocateParameters(buildModel(wide).parameters) });
    expect((await runHeed(['convert', at('in'), at('out'), '--tokenizer', tokenizerFile])).code).toBe(0);
    const text = 'the model, 123 <|im_end|>';
    expect((await loadTokenizer(at('out'))).encode(text)).toEqual(tokenizer.encode(text));
    // transformers.js looks for the template in the configuration only.
    expect(json('out', 'tokenizer_config.json').chat_template).toBeUndefined();
    const web = ['convert', at('in'), at('web'), '--tokenizer', tokenizerFile, '--to', 'onnx'];
    expect((await runHeed(web)).code).toBe(0);
    expect(json('web', 'tokenizer_config.json').chat_template).toBe(tokenizer.chatTemplate);
  });

  it('writes ONNX in the layout of transformers.js', async () => {
    const { code, stdout } = await runHeed(['convert', gguf, at('out'), '--to', 'onnx']);
    expect(code).toBe(0);
    expect(stdout).toContain('transformers.js');
    expect(readdirSync(at('out')).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'onnx',
    ]);
    expect(readdirSync(at('out', 'onnx'))).toEqual(['model.onnx']);
    expect(json('out', 'config.json')).toMatchObject({
      model_type: 'llama',
      'transformers.js_config': { dtype: 'fp32' },
    });
  });

  it('takes encoders and adapters on them, to every form', async () => {
    const bert = goldenFolder('bert-pairs');
    const { code, stdout } = await runHeed(['convert', bert, at('web'), '--to', 'onnx']);
    expect(code).toBe(0);
    expect(stdout).toContain('pipeline("text-classification", name)');
    expect(readdirSync(at('web', 'onnx'))).toEqual(['model.onnx']);
    expect(json('web', 'config.json')).toMatchObject({
      architectures: ['BertForSequenceClassification'],
      id2label: { 0: 'no', 1: 'maybe', 2: 'yes' },
    });
    expect(readFileSync(at('web', 'README.md'), 'utf8')).toContain('pipeline_tag: text-classification');
    expect((await runHeed(['convert', bert, at('half'), '--dtype', 'bfloat16'])).code).toBe(0);
    expect(readClassifier(at('half')).parameters.flat).toEqual(
      readClassifier(bert, { dtype: 'BF16' }).parameters.flat,
    );
    const adapter = goldenFolder('peft-bert');
    expect((await runHeed(['convert', adapter, at('merged'), '--to', 'merged'])).code).toBe(0);
    expect(readClassifier(at('merged')).parameters.flat).toEqual(readClassifier(adapter).parameters.flat);
    const pictures = await runHeed(['convert', goldenFolder('siglip-vision'), at('none'), '--to', 'onnx']);
    expect(pictures).toMatchObject({ code: 2, stdout: '' });
    expect(pictures.stderr).toContain('It is a vision encoder: no command takes it, loadVision does');
  });

  it('merges an adapter into its base model', async () => {
    const { ids, adapterLogits: logits } = readGolden('peft-llama', 'recorded.json') as {
      ids: number[];
      adapterLogits: number[][];
    };
    const adapter = goldenFolder('peft-llama');
    expect((await runHeed(['convert', adapter, at('a'), '--to', 'merged'])).code).toBe(0);
    const named = ['convert', goldenFolder('llama-plain'), at('b'), '--adapter', adapter, '--to', 'merged'];
    expect((await runHeed(named)).code).toBe(0);
    expect(readModel(at('b')).parameters.flat).toEqual(readModel(at('a')).parameters.flat);
    const outputs = await evaluate(sharedOrt(), readModel(at('a')), { ids });
    expectClose('logits', outputs.logits!, logits.flat(), [ids.length, logits[0]!.length], 1e-5);

    const plain = await runHeed(['convert', adapter, at('c')]);
    expect(plain.code).toBe(2);
    expect(plain.stderr).toContain('Use --to merged');
    // Other forms have no adapters: it is merged for them.
    expect((await runHeed(['convert', adapter, at('d'), '--to', 'onnx'])).code).toBe(0);
    const exported = readFileSync(at('d', 'onnx', 'model.onnx'));
    const weight = readModel(at('a')).parameters.view('model.layers.0.self_attn.q_proj.weight').slice();
    expect(exported.includes(Buffer.from(weight.buffer))).toBe(true);
  });

  it('overwrites nothing, not even with a failure', async () => {
    mkdirSync(at('full'));
    writeFileSync(at('full', 'config.json'), '{}');
    const refused = await runHeed(['convert', gguf, at('full')]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /expected a new name or an empty folder, received ".*full", which holds something/,
    );
    expect(readFileSync(at('full', 'config.json'), 'utf8')).toBe('{}');

    const dynamic = goldenFolder('llama-rope-dynamic');
    expect((await runHeed(['convert', dynamic, at('new'), '--to', 'onnx'])).code).toBe(2);
    expect(existsSync(at('new'))).toBe(false);
    expect(readdirSync(place)).toEqual(['full']);
  });

  it.each([
    [['convert', 'nowhere', 'out'], /"nowhere", which does not exist/],
    [['convert', gguf, 'out', '--to', 'gguf'], /--to: expected hf \| onnx \| merged, received "gguf"/],
    [['convert', gguf], /output: expected a value/],
    [['convert', gguf, 'out', '--to', 'merged'], /a model without adapter/],
  ])('says what is wrong with %j', async (argv, message) => {
    const { code, stderr } = await runHeed(argv);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync('out')).toBe(false);
  });
});
