import { strict as assert } from 'node:assert';
import { chatTemplateOf } from '../../../shared/model/chat-template.ts';

/** Templates as the tokenizer configurations of these families publish them, special tokens beside them. */
const published = {
  qwen2: {
    eos_token: '<|im_end|>',
    chat_template:
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
  },
  llama2: {
    bos_token: { __type: 'AddedToken', content: '<s>' },
    eos_token: { __type: 'AddedToken', content: '</s>' },
    chat_template:
      "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
  },
  llama3: {
    bos_token: '<|begin_of_text|>',
    eos_token: '<|eot_id|>',
    chat_template:
      "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
  },
} as const;

const chat = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Hello!' },
  { role: 'user', content: 'Bye' },
  { role: 'assistant', content: 'See you.' },
];

const golden = {
  qwen2:
    '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n«Hello!<|im_end|>\n»<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n«See you.<|im_end|>\n»',
  llama2: '<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]« Hello! </s>»<s>[INST] Bye [/INST]« See you. </s>»',
  llama3:
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n«Hello!<|eot_id|>»<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n«See you.<|eot_id|>»',
} as const;

describe('chat templates', () => {
  for (const family of ['qwen2', 'llama2', 'llama3'] as const) {
    it(`[CHT-1] write the published text of ${family}, and answers are what the assistant says`, () => {
      const template = chatTemplateOf(published[family])!;
      const marked = template.parts(chat).map(({ text, isAnswer }) => (isAnswer ? `«${text}»` : text));
      assert.equal(marked.join(''), golden[family]);
      assert.equal(template.render(chat), golden[family].replaceAll(/[«»]/g, ''));
      const prompt = template.render(chat.slice(0, 2), { isPrompt: true });
      assert.equal(prompt, golden[family].slice(0, golden[family].indexOf('«')));
    });
  }

  it('[CHT-2] add the system turn that the template brings, and refuse what it refuses', () => {
    const qwen = chatTemplateOf(published.qwen2)!;
    assert.equal(
      qwen.render([{ role: 'user', content: 'Hi' }]),
      '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n',
    );
    const llama = chatTemplateOf(published.llama2)!;
    assert.throws(() => llama.render([{ role: 'assistant', content: 'Hi' }]), {
      code: 'bad-chat',
      message: /must alternate/,
    });
  });

  it('[CHT-3] that rewrite earlier turns are refused for chats with several answers', () => {
    const thinking = chatTemplateOf({
      chat_template:
        "{% for m in messages %}{{ m.role }}:{{ m.content }}{% if loop.last and m.role == 'assistant' %}!{% endif %};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
    })!;
    assert.throws(() => thinking.parts(chat), /writes earlier turns differently/);
    assert.deepEqual(thinking.parts(chat.slice(1, 3)), [
      { text: 'user:Hi;assistant:', isAnswer: false },
      { text: 'Hello!!;', isAnswer: true },
    ]);
  });

  it('[CHT-4] are optional, may be several, and broken ones are named', () => {
    assert.equal(chatTemplateOf({}), null);
    const several = {
      chat_template: [
        { name: 'default', template: 'one' },
        { name: 'tool_use', template: 'two' },
      ],
    };
    assert.equal(chatTemplateOf(several)!.render(chat), 'one');
    assert.throws(() => chatTemplateOf({ chat_template: '{% for %}' }), { code: 'bad-chat-template' });
  });
});
