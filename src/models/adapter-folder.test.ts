/** Adapter folders that cannot be used, each with what is wrong. Those that can are compared with PEFT in test/golden/peft.test.ts. */
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { goldenFolder } from '../../test/support/golden-model.ts';
import { baseOfAdapter, isAdapterFolder, loadAdapter, saveAdapter } from './adapter-folder.ts';
import { readModel } from './checkpoint.ts';
import { defaultLora } from './lora-config.ts';
import { attachLora } from './lora-model.ts';
import { writeSafetensors } from './safetensors.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'heed-adapter-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const config = (): string => join(folder, 'adapter_config.json');
/** A copy of a recorded adapter with other settings. */
function changed(name: string, settings: Record<string, unknown>): string {
  cpSync(goldenFolder(name), folder, { recursive: true });
  writeFileSync(config(), JSON.stringify({ ...JSON.parse(readFileSync(config(), 'utf8')), ...settings }));
  return folder;
}
const llama = () => readModel(goldenFolder('llama-plain'));

describe('loadAdapter refuses', () => {
  it.each([
    [{ peft_type: 'IA3' }, /adapter_config\.json: peft_type: .*received "IA3"\. Only LoRA/],
    [{ r: 0 }, /adapter_config\.json: r: /],
    [{ lora_bias: true }, /lora_bias: expected false or null, received true/],
    [{ trainable_token_indices: [3] }, /trainable_token_indices: .*received \[3\]/],
    [{ target_parameters: ['mlp.experts'] }, /target_parameters: /],
    [
      { init_lora_weights: 'pissa' },
      /init_lora_weights: .*received pissa\. Convert the adapter to plain LoRA/,
    ],
    [{ use_dora: true }, /expected the 12 tensors .*received 4 missing \(.*lora_magnitude_vector/],
    [{ modules_to_save: ['norm'], bias: 'all' }, undefined],
  ])('%j', (settings, message) => {
    const load = () => loadAdapter(changed('peft-llama', settings), llama());
    if (message === undefined)
      expect(load).not.toThrow(); // nothing of the kind is stored, and Llama has no biases
    else expect(load).toThrow(message);
  });

  it('a folder without configuration or weights, and one that is no JSON', () => {
    expect(() => loadAdapter(folder, llama())).toThrow(
      /expected adapter_config\.json, received no such file/,
    );
    changed('peft-llama', {});
    renameSync(join(folder, 'adapter_model.safetensors'), join(folder, 'adapter_model.bin'));
    expect(() => loadAdapter(folder, llama())).toThrow(/pickle files are not read/);
    writeFileSync(config(), '{');
    expect(() => loadAdapter(folder, llama())).toThrow(/adapter_config\.json: expected JSON/);
  });

  it('an adapter of another model, by name or by shape', () => {
    const gpt2 = readModel(goldenFolder('gpt2-plain'));
    expect(() => loadAdapter(goldenFolder('peft-llama'), gpt2)).toThrow(/target modules: /);
    const other = readModel(goldenFolder('llama-head-size'));
    expect(() => loadAdapter(goldenFolder('peft-llama'), other)).toThrow(
      /tensors of this adapter .*received .*of shape/,
    );
  });

  it('a trained input embedding under a tied output embedding that stays', () => {
    const tied = readModel(goldenFolder('qwen2-full'));
    expect(() => loadAdapter(changed('peft-qwen2-tied', { ensure_weight_tying: false }), tied)).toThrow(
      /expected ensure_weight_tying: true/,
    );
  });

  it('stored base weights that are not those of the base', () => {
    const base = readModel(goldenFolder('qwen2-window'));
    const head = base.parameters.view('lm_head.weight');
    head[3] = head[3]! + 1;
    expect(() => loadAdapter(goldenFolder('peft-qwen2-head'), base)).toThrow(
      /lm_head\.base_layer\.weight.*received other numbers/,
    );
  });

  it('a change of the input embedding', () => {
    changed('peft-llama', {});
    writeSafetensors(join(folder, 'adapter_model.safetensors'), [
      {
        name: 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight',
        shape: [4, 16],
        data: new Float32Array(64),
      },
      {
        name: 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight',
        shape: [16, 4],
        data: new Float32Array(64),
      },
      { name: 'base_model.model.model.embed_tokens.lora_embedding_A', shape: [1], data: new Float32Array(1) },
    ]);
    expect(() => loadAdapter(folder, llama())).toThrow(
      /1 unexpected \(model\.embed_tokens\.lora_embedding_A\)/,
    );
  });
});

describe('the base of an adapter', () => {
  it('is looked for beside the folder when it is not here, and asked for when it is not named', () => {
    expect(baseOfAdapter(goldenFolder('peft-llama'))).toBe(
      join(goldenFolder('peft-llama'), '../llama-plain'),
    );
    expect(baseOfAdapter(changed('peft-llama', { base_model_name_or_path: 'owner/name' }))).toBe(
      'owner/name',
    );
    expect(() => baseOfAdapter(changed('peft-llama', { base_model_name_or_path: null }))).toThrow(
      /expected base_model_name_or_path, .*Name the base model as model, and this folder as adapter/,
    );
    expect(isAdapterFolder(folder)).toBe(true);
    expect(isAdapterFolder(goldenFolder('llama-plain'))).toBe(false);
  });

  it('takes one adapter at a time', () => {
    expect(() => readModel(goldenFolder('peft-llama'), { adapter: goldenFolder('peft-llama') })).toThrow(
      /expected a model without adapter.*heed convert <in> <out> --to merged/,
    );
  });
});

describe('saveAdapter', () => {
  it('replaces an older adapter, and nothing that is none', () => {
    const { model, parameters } = attachLora(llama(), defaultLora);
    const place = join(folder, 'adapter');
    saveAdapter(place, { model, parameters, base: 'a' });
    saveAdapter(place, { model, parameters, base: 'b' });
    expect(JSON.parse(readFileSync(join(place, 'adapter_config.json'), 'utf8')).base_model_name_or_path).toBe(
      'b',
    );
    writeFileSync(join(folder, 'notes.txt'), 'mine');
    expect(() => saveAdapter(folder, { model, parameters, base: 'a' })).toThrow(
      /something else of this name/,
    );
    expect(readFileSync(join(folder, 'notes.txt'), 'utf8')).toBe('mine');
  });
});
