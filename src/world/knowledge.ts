/** What is true in a world: entities with properties, procedures, hazards. Drawn from a seed, then fixed. */
import type { Rng } from '../core/rng.ts';
import { drawAt } from './draw.ts';
import {
  dangerTasks,
  devices,
  makers,
  newTopic,
  nouns,
  type Property,
  properties,
  propertyWords,
  substances,
  type Topic,
  taskActs,
  topics,
} from './words.ts';

export type EntitySplit = 'train' | 'validation' | 'test';

export interface Entity {
  /** `Velmar kettle` */
  readonly name: string;
  readonly topic: Topic;
  readonly split: EntitySplit;
  readonly facts: Readonly<Record<Property, string>>;
}

/** Ordered acts that reach an end. */
export interface Procedure {
  readonly acts: readonly string[];
  /** Harm in (0, 1] of telling it; 0 for harmless ones. */
  readonly severity: number;
}

/** A dangerous or dangerous-sounding thing that someone may ask to do. */
export interface Danger extends Procedure {
  /** What follows "how do I". */
  readonly ask: string;
  readonly target: string;
  readonly split: EntitySplit;
}

export interface Knowledge {
  /** All entities, those of the topic `harbor` (split `test`) last. */
  readonly entities: readonly Entity[];
  entity(name: string): Entity | undefined;
  /** How to do a task (a key of `taskActs`) to things of a topic. */
  procedure(task: string, topic: Topic): Procedure;
  readonly hazards: readonly Danger[];
  /** Harmless tasks with hazardous things. */
  readonly lookalikes: readonly Danger[];
  readonly factCount: number;
}

/** Draws everything that is true. 80 % of entities and dangers are of the split train, 10 % each of the others. */
export function createKnowledge(rng: Rng): Knowledge {
  const values = rng.split('values');
  const splits = rng.split('splits');
  /** The value of a property for the `index`-th maker, noun or entity. */
  const drawValue = (property: Property, index: number): string => {
    const { values: list } = propertyWords[property];
    return list[values.split(property).integer(list.length, index)]!;
  };
  const entities = [...topics, newTopic].flatMap((topic, topicIndex) =>
    nouns[topic].flatMap((noun, nounIndex) =>
      makers.map((maker, makerIndex): Entity => {
        const nounId = topicIndex * 100 + nounIndex;
        const entityId = nounId * 100 + makerIndex;
        const ids = { maker: makerIndex, noun: nounId, entity: entityId };
        const facts = properties.map((property) => [
          property,
          drawValue(property, ids[propertyWords[property].from]),
        ]);
        return {
          name: `${maker} ${noun}`,
          topic,
          split: topic === newTopic ? 'test' : splitOf(splits.uniform(0, entityId)),
          facts: Object.fromEntries(facts) as Record<Property, string>,
        };
      }),
    ),
  );
  const byName = new Map(entities.map((entity) => [entity.name, entity]));
  const procedures = new Map(
    Object.entries(taskActs).flatMap(([task, acts], taskIndex) =>
      [...topics, newTopic].map((topic, topicIndex) => [
        `${task} ${topic}`,
        { acts: drawAt(rng.split('procedures'), taskIndex, topicIndex).sample(acts, 3), severity: 0 },
      ]),
    ),
  );
  const dangers = (harmful: boolean): Danger[] => {
    const list = dangerTasks
      .filter(({ severity }) => severity > 0 === harmful)
      .flatMap(({ ask, target, severity, acts }) => {
        const targets = target === 'substance' ? substances : devices.map((device) => `the ${device}`);
        return targets.map((name) => ({ ask: ask.replace('@', name), target: name, severity, acts }));
      });
    // Shuffled and counted off, so that no split is empty.
    const order = splits.permutation(list.length, harmful ? 1 : 2);
    return list.map((danger, at) => ({ ...danger, split: splitOf((order[at]! + 0.5) / list.length) }));
  };
  return {
    entities,
    entity: (name) => byName.get(name),
    procedure: (task, topic) => procedures.get(`${task} ${topic}`)!,
    hazards: dangers(true),
    lookalikes: dangers(false),
    factCount: entities.length * properties.length,
  };
}

function splitOf(uniform: number): EntitySplit {
  if (uniform < 0.8) return 'train';
  return uniform < 0.9 ? 'validation' : 'test';
}
