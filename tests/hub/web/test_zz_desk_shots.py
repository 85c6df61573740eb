from __future__ import annotations
import gettext, io
import pytest
from hub import i18n
from core.staff.users import Role, User
from tests.hub.web.test_desk_profile import telegram, address, page  # noqa
from tests.hub.web.test_desk_profile import link, add, MATRIX, _sign_in
pytestmark = pytest.mark.browser
OUT='/tmp/dp_shots'

def merged():
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po
    made=io.BytesIO()
    base=read_po(open(i18n.LOCALES/'ru'/'LC_MESSAGES'/'switchyard.po','rb'), locale='ru')
    for m in read_po(open('/tmp/desk_pages_ru.po','rb'), locale='ru'):
        if m.id:
            base.delete(m.id)
            base.add(m.id, m.string)
    write_mo(made, base); made.seek(0)
    return gettext.GNUTranslations(made)

async def test_shots(hub, telegram, take_on, address, page, monkeypatch):
    ru=merged()
    old=i18n.catalogue
    monkeypatch.setattr(i18n,'catalogue',lambda l: ru if l=='ru' else old(l))
    import os; os.makedirs(OUT,exist_ok=True)
    matrix = await add(hub,'desk_matrix','Наш Matrix',MATRIX)
    async with hub.database.transaction() as session:
        from core.connections import Connection as C
        (await session.get_one(C, telegram.id)).settings = {'mode':'webhook'}
    await hub.switchboard.refresh()
    kirill = await take_on('Kirill', Role.OWNER, password=True)
    await link(hub, telegram, kirill)
    from core.connections import Connection
    from core.staff import teams
    from hub.desk.records import DeskTeamChat
    async with hub.database.transaction() as session:
        sales = await teams.by_name(session, "Sales")
        session.add(DeskTeamChat(connection_id=telegram.id, chat="-1001", title="Windows, sales", team_id=sales.id, created_at=hub.clock.now()))
        session.add(DeskTeamChat(connection_id=telegram.id, chat="-1002", title="A very long name of a group of people who work together on windows", trouble="The bot may not manage topics there. Make it an administrator who may", created_at=hub.clock.now()))
    await _sign_in(page, hub, address, kirill)
    async def shot(name, path, sel=None):
        for lang in ('en','ru'):
            for theme in ('light','dark'):
                async with hub.database.transaction() as session:
                    u=await session.get_one(User, kirill.id); u.language=lang; u.settings={**u.settings,'theme':theme}
                for w in (1280,360):
                    await page.set_viewport_size({'width':w,'height':900})
                    await page.goto(address+path)
                    wide = await page.evaluate("document.documentElement.scrollWidth")
                    print(name, lang, theme, w, 'scrollWidth', wide)
                    await page.screenshot(full_page=True, path=f'{OUT}/{name}-{lang}-{theme}-{w}.png')
    await shot('one','/profile','#desk')
    await shot('channel',f'/settings/channels/{telegram.id}','#desk')
    await page.set_viewport_size({'width':1280,'height':900})
    await page.goto(address+'/profile'); await page.screenshot(path=f'{OUT}/whole.png', full_page=True)
    async with hub.database.transaction() as session:
        from hub.desk import linking
        await linking.reach(session, telegram.id, '500', is_reachable=False)
    await shot('blocked','/profile','#desk')
    await page.goto(address+f'/settings/users/{kirill.id}'); await page.screenshot(path=f'{OUT}/user.png', full_page=True)
    await page.goto(address+f'/settings/channels/new?q=desk'); await page.screenshot(path=f'{OUT}/new.png', full_page=True)
