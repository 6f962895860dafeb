/**
 * ONNX Runtime's kernels from synchronous code: compiled graphs that run at once and write their results into memory they are given.
 *
 * The package's public `run` is asynchronous, which a back end of TensorFlow.js cannot wait for. The synchronous call lies in its file
 * `dist/binding.js`, which is no promise of the package: this file alone touches it, checks its shape before use, and says what it found when a
 * version differs.
 *
 * After a run the package copies every result that was asked for into a fresh array, those too that were written into memory it was given; for a
 * result of 4 MiB the copy and the garbage it leaves cost half as much as a product. It converts results in the order of the graph. So for
 * large results the first one asked for is the graph's marker, which it cannot convert: it stops there, when everything is written and nothing copied.
 */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { errorMessage } from '../../core/errors.ts';
import { encodeGraph, encodeGraphWith, markerOutput, type OnnxGraph } from './onnx.ts';
import type { EngineValue, PreparedProgram, Program } from './programs.ts';

/** The engine of one thread. */
export interface Engine {
  /** Version of the package. */
  readonly version: string;
  /** Runs a program on its inputs, in the order of the graph; fills the outputs. @throws Error of the engine. */
  run(program: Program, inputs: readonly EngineValue[], outputs: readonly EngineValue[]): void;
  /** Compiles a program around the values of one of its inputs, which are copied. The caller disposes of it. @throws Error of the engine. */
  prepare(program: Program, input: string, value: EngineValue): PreparedProgram;
  /** Graphs that are compiled now, without prepared ones. */
  readonly compiledCount: () => number;
  /** Frees all compiled graphs; they are compiled again when needed. */
  dispose(): void;
}

/** Compiled graphs that are kept; the one whose last use lies furthest back makes room. Models need 30 to 80. */
const compiledMax = 256;

/** Results of fewer bytes are copied: an error costs as much. */
const uncopiedBytesMin = 32_768;

/** What the package says when it meets the marker. */
const markerRefusal = /^Tensor type \(16\) is not supported/;

const packageName = 'onnxruntime-node';

type NamedValues = Record<string, (EngineValue & { readonly location: 'cpu' }) | null>;

interface Session {
  loadModel(buffer: ArrayBuffer, byteOffset: number, byteLength: number, options: object): void;
  run(feeds: NamedValues, fetches: NamedValues, options: object): unknown;
  dispose(): void;
}

interface Compiled {
  readonly session: Session;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
}

/**
 * Opens the engine.
 * @param options.threads threads that one heavy graph may use.
 * @throws Error when the package is not installed, has no library for this machine, or has another shape than this file knows.
 */
export function openEngine({ threads }: { readonly threads: number }): Engine {
  const { createSession, version } = loadBinding();
  const compiled = new Map<string, Compiled>();
  const load = (graph: OnnxGraph, bytes: Uint8Array<ArrayBuffer>, isHeavy: boolean): Compiled => {
    const session = createSession();
    session.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, sessionOptions(isHeavy ? threads : 1));
    return { session, inputs: namesOf(graph.inputs), outputs: namesOf(graph.outputs) };
  };
  const compile = ({ key, graph, isHeavy }: Program): Compiled => {
    const known = compiled.get(key);
    if (known !== undefined) {
      compiled.delete(key);
      compiled.set(key, known);
      return known;
    }
    if (compiled.size >= compiledMax) {
      const [oldest, { session }] = compiled.entries().next().value!;
      compiled.delete(oldest);
      session.dispose();
    }
    const made = load(graph, encodeGraph(graph), isHeavy);
    compiled.set(key, made);
    return made;
  };
  let last: { readonly key: string; readonly compiled: Compiled } | null = null;
  return {
    version,
    run: (program, inputs, outputs) => {
      // Long results are computed in slices, one call after the other.
      if (last?.key !== program.key) last = { key: program.key, compiled: compile(program) };
      runCompiled(last.compiled, inputs, outputs);
    },
    prepare: ({ graph, isHeavy }, input, value) => {
      const made = load(graph, encodeGraphWith(graph, input, value), isHeavy);
      const prepared = { ...made, inputs: made.inputs.filter((name) => name !== input) };
      return {
        run: (inputs, outputs) => runCompiled(prepared, inputs, outputs),
        dispose: () => prepared.session.dispose(),
      };
    },
    compiledCount: () => compiled.size,
    dispose: () => {
      last = null;
      for (const { session } of compiled.values()) session.dispose();
      compiled.clear();
    },
  };
}

function namesOf(values: OnnxGraph['inputs']): string[] {
  return values.map((value) => (typeof value === 'string' ? value : value[0]));
}

function runCompiled(
  { session, inputs: inputNames, outputs: outputNames }: Compiled,
  inputs: readonly EngineValue[],
  outputs: readonly EngineValue[],
): void {
  const feeds = named(inputNames, inputs);
  const fetches = named(outputNames, outputs);
  const bytes = outputs.reduce((sum, { data }) => sum + data.byteLength, 0);
  if (bytes < uncopiedBytesMin) session.run(feeds, fetches, {});
  else runUncopied(session, feeds, fetches);
}

function runUncopied(session: Session, feeds: NamedValues, fetches: NamedValues): void {
  const { stackTraceLimit } = Error;
  // The error is expected, and where it came from takes long to find out.
  Error.stackTraceLimit = 0;
  try {
    session.run(feeds, { [markerOutput]: null, ...fetches }, {});
  } catch (thrown) {
    if (!markerRefusal.test(errorMessage(thrown))) throw thrown;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function named(names: readonly string[], values: readonly EngineValue[]): NamedValues {
  const found: NamedValues = {};
  for (let index = 0; index < names.length; index++) {
    const { type, dims, data } = values[index]!;
    found[names[index]!] = { type, dims, data, location: 'cpu' };
  }
  return found;
}

function sessionOptions(threads: number): object {
  return {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
    // Patterns are kept for every shape that comes by, without a bound.
    enableMemPattern: false,
    logSeverityLevel: 3,
    // A thread that waits for the next graph by spinning takes the processor from whatever runs between two graphs.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  };
}

function loadBinding(): { readonly createSession: () => Session; readonly version: string } {
  const require = createRequire(import.meta.url);
  let main: string;
  try {
    main = require.resolve('onnxruntime-node');
  } catch (cause) {
    throw new Error(`${packageName} is not installed`, { cause });
  }
  const { version } = require('onnxruntime-node/package.json') as { version: string };
  let loaded: unknown;
  try {
    loaded = require(join(dirname(main), 'binding.js'));
  } catch (cause) {
    throw new Error(`${packageName} ${version} does not load: ${errorMessage(cause).split('\n')[0]}`, { cause });
  }
  const parts = loaded as {
    initOrt?: unknown;
    binding?: { InferenceSession?: (new () => Session) & { prototype: object } };
  };
  const SessionClass = parts.binding?.InferenceSession;
  const lacks = ['loadModel', 'run', 'dispose'].filter(
    (name) => typeof SessionClass?.prototype[name as never] !== 'function',
  );
  if (SessionClass === undefined || lacks.length > 0 || typeof parts.initOrt !== 'function') {
    throw new Error(
      `${packageName} ${version} has another inner shape than the version this back end was written for (1.30.0): ` +
        `no ${lacks.length > 0 ? lacks.join(', ') : 'initOrt'} in dist/binding.js`,
    );
  }
  (parts.initOrt as () => void)();
  return { createSession: () => new SessionClass(), version };
}
