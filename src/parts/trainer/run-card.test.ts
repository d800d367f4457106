import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { metric } from '../../core/metrics.ts';
import { runCard } from './run-card.ts';

const method = {
  id: 'dpo',
  summary: 'direct preference optimization',
  metrics: [metric('loss', 'mean loss per pair', { unit: 'nats' })],
};

describe('runCard', () => {
  const text = runCard(
    {
      method,
      model: 'owner/base@main',
      data: ['/home/me/secret/pairs.jsonl', 'owner/pairs'],
      configText:
        "model: owner/base\ndata: /home/me/secret/pairs.jsonl  # flag\nfiles: ['~/x/a', 'C:\\y\\b']\nbeta: 0.1\n",
      modelConfig: { architectures: ['LlamaForCausalLM'] },
    },
    [
      { step: 1, loss: 0.7, lr: 1e-3 },
      { step: 2, loss: 0.5, lr: 5e-4, epoch: 1 },
      { step: 2, eval_loss: 0.6 },
    ],
  );
  const [, head] = /^---\n([\s\S]*?)\n---\n/.exec(text)!;

  it('names hub ids in the head, and the last value of each figure', () => {
    const parsed = parse(head!);
    expect(parsed).toMatchObject({
      base_model: 'owner/base',
      datasets: ['owner/pairs'],
      tags: ['heed', 'dpo'],
    });
    expect(text).toContain('in 2 steps');
    expect(text).toContain(
      '| loss | 0.5 | mean loss per pair (nats) |\n| eval_loss | 0.6 | mean loss per pair (nats) |\n\n',
    );
    expect(text).not.toMatch(/\| (lr|epoch|step) \|/);
  });

  it('names no folder of the machine', () => {
    expect(text).not.toMatch(/home|secret|~/);
    expect(text).toContain('data: pairs.jsonl  # flag\n');
    expect(text).toContain("files: ['a', 'b']\n");
    expect(text).toContain('model: owner/base\n');
  });

  it('tells reward models from language models', () => {
    const score = runCard(
      {
        method,
        model: './sft',
        data: [],
        configText: '',
        modelConfig: { architectures: ['LlamaForSequenceClassification'] },
      },
      [],
    );
    expect(score).toContain('pipeline_tag: text-classification');
    expect(score).not.toContain('base_model');
  });
});
