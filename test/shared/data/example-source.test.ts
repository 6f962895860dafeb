import { memorySource } from '../../../shared/data/example-source.ts';
import { exampleSourceContract } from '../../contracts/example-source.ts';

exampleSourceContract('in memory', async (examples) => memorySource(examples));
