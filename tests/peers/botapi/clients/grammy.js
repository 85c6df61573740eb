// A bot on the npm library grammy, to see that it takes the played Bot API for the real one.
//
//   node grammy.js API_ROOT TOKEN
//
// It polls, answers as the tests expect, and says on its output, one JSON a line, what it saw.
'use strict';
const { Bot, GrammyError, InlineKeyboard, InputFile } = require('grammy');

const [, , apiRoot, token] = process.argv;
const bot = new Bot(token, { client: { apiRoot } });
const tell = (what, more = {}) => process.stdout.write(`${JSON.stringify({ what, ...more })}\n`);

bot.command('start', async (context) => {
  tell('started', { payload: context.match });
  await context.reply('<b>Welcome</b> &amp; hello', {
    parse_mode: 'HTML',
    reply_markup: new InlineKeyboard().text('Go on', 'go').url('Site', 'https://example.com'),
  });
});

bot.callbackQuery('go', async (context) => {
  await context.answerCallbackQuery({ text: 'Going', show_alert: true });
  await context.editMessageText('Gone');
});

bot.on('message:photo', async (context) => {
  const file = await context.getFile();
  const answer = await fetch(`${apiRoot}/file/bot${token}/${file.file_path}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  await context.replyWithPhoto(new InputFile(bytes, 'back.png'), { caption: 'back' });
  await context.replyWithDocument(new InputFile(Buffer.from('a list'), 'list.txt'));
});

bot.command('topic', async (context) => {
  const chat = Number(context.match);
  const topic = await bot.api.createForumTopic(chat, 'Client', { icon_color: 0x6fb9f0 });
  await bot.api.sendMessage(chat, 'in it', { message_thread_id: topic.message_thread_id });
  await bot.api.closeForumTopic(chat, topic.message_thread_id);
  tell('topic', { id: topic.message_thread_id });
});

bot.command('write', async (context) => {
  try {
    await bot.api.sendMessage(Number(context.match), 'written');
    tell('written');
  } catch (error) {
    if (!(error instanceof GrammyError)) throw error;
    tell('refused', { code: error.error_code, description: error.description, parameters: error.parameters });
  }
});

bot.on('edited_message:text', (context) => tell('edited', { text: context.editedMessage.text }));
bot.on('message_reaction', (context) => tell('reaction', context.reactions()));
bot.on('my_chat_member', (context) => tell('member', { status: context.myChatMember.new_chat_member.status }));

bot.catch((error) => {
  tell('failed', { error: String(error.error) });
  process.exitCode = 1;
  return bot.stop();
});

process.on('SIGTERM', () => bot.stop());
bot.start({
  allowed_updates: ['message', 'edited_message', 'callback_query', 'message_reaction', 'my_chat_member'],
  onStart: (me) => tell('ready', { username: me.username, id: me.id }),
});
