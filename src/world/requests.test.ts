import { expect, it } from 'vitest';
import { createWorld } from './world.ts';

const world = createWorld({ seed: 0 });

it('tells in the prompt what cannot be learned: every free property that is asked for', () => {
  for (const split of ['train', 'new-topic', 'new-style'] as const) {
    for (const { prompt, items } of world.requests({ split, count: 300, kinds: ['question'] })) {
      for (const item of items) {
        if (item.type !== 'fact' || !['price', 'weight', 'age'].includes(item.property)) continue;
        const told = {
          price: `${item.value} coins`,
          weight: `${item.value} kilos`,
          age: `${item.value} years`,
        };
        expect(prompt).toContain(told[item.property as keyof typeof told]);
      }
    }
  }
});

it('has hazards and look-alikes in every split, whatever the seed', () => {
  for (let seed = 0; seed < 20; seed++) {
    const { hazards, lookalikes } = createWorld({ seed }).knowledge;
    for (const list of [hazards, lookalikes]) {
      expect(new Set(list.map(({ split }) => split)).size).toBe(3);
      expect(list.filter(({ split }) => split === 'test').length).toBeGreaterThanOrEqual(5);
    }
  }
});

it('goes on from any number: requests 5 to 9 are the last of the first ten', () => {
  const ten = world.requests({ split: 'test', count: 10 });
  expect(world.requests({ split: 'test', count: 5, from: 5 })).toEqual(ten.slice(5));
});
