# ruff: noqa: E501, INP001
"""The words of the demo market: briefs, honest answers and short ones, all written for it."""

SLOGAN = "一碗豆花，半巷春天"

BRIEFS = {
    "tofu": (
        "豆花店开业文案",
        f"巷口新开了一家豆花店，卖咸甜两种豆花和现磨豆浆。请写一段六十到一百五十字的开业文案，要有画面，不要空话，结尾请带上口号“{SLOGAN}”。",
    ),
    "bicycle": (
        "Why does a moving bicycle stay upright?",
        "In 60 to 150 words and in your own words: why does a bicycle stay upright while it rolls, and fall over when it stands? Write for a curious twelve-year-old.",
    ),
    "park": (
        "附近公园的真实体验",
        "写一段你家附近公园的真实体验，八十到两百字。说清楚什么时间去的、看到了什么、有什么不方便的地方。",
    ),
    "bird": (
        "Is the bird singing?",
        "Listen to the clip of four seconds and answer with one word: yes, no or unclear.",
    ),
    "poster": (
        "Poster for a festival in the hills",
        "Draw a poster for a small music festival in the hills: hills, a sun or a moon, and room for a date. One picture.",
    ),
    "sign": (
        "江边步道指示牌拍摄",
        "请到江边步道现场拍摄一块指示牌，照片需为当天现场拍摄，保留定位。",
    ),
    "checkin": (
        "Upload your check-in page",
        "Check in to the reading app for today and upload the screenshot of the result page with your own name on it.",
    ),
    "minutes": (
        "Write up the minutes",
        "Write up the minutes of the garden club's meeting from the recording, as a text file. Names, decisions, and who does what by when.",
    ),
}
FOLLOW = ("关注小店账号并评论", "按要求在评论区留言，内容自拟，不少于十个字。")

TOFU = [
    "早上六点半，磨盘先醒。豆子在石缝里慢慢化开，满屋子都是热气。师傅把第一勺豆花舀进粗瓷碗，葱花、虾皮、一点辣油，咸的那碗给赶地铁的人；红糖和桂花留给不着急的人。巷子口的猫已经排在第一位了，你呢？一碗豆花，半巷春天。",
    "我奶奶说，豆花好不好，看它敢不敢晃。我们的豆花端起来会发抖，放下去却不碎。黄豆是东北的，水是凌晨滤过的，人是隔壁弄堂长大的。开业前三天，甜口送桂花，咸口送榨菜，带着小孩来的再送半杯豆浆。一碗豆花，半巷春天。",
    "写字楼的咖啡提神，巷口的豆花安神。下班路过，别急着上楼，先坐五分钟：勺子碰碗沿的声音，邻居喊孩子回家的声音，豆浆机最后一圈慢下来的声音。十二块钱，买一个不用看手机的傍晚。一碗豆花，半巷春天。",
    "搬来这条巷子三年，我第一次知道对门的阿姨姓什么，是在豆花店的长桌上。她吃甜的，我吃咸的，我们谁也没说服谁，最后各点了一碗对方的。新店今天开门，桌子只有四张，拼桌是这里的规矩。一碗豆花，半巷春天。",
    "不加石膏粉，不兑隔夜浆，不用塑料碗。我们只会做这三件“不”，剩下的交给你的舌头。上午卖咸，下午卖甜，傍晚卖到锅底见光为止。下雨天推门进来的客人，姜汤免费，因为春雨也是我们家的老顾客。一碗豆花，半巷春天。",
]

BICYCLE = [
    "Try to balance a broom on your palm. You keep it up by moving your hand under the way it leans. A rolling bicycle does the same trick with its wheels: when it starts to lean left, the front wheel turns a little to the left, the tyres roll back under the weight, and the lean is gone before you notice it. Standing still, the wheels cannot go anywhere, so there is nothing to catch the fall. That is why slow riding is wobbly and fast riding feels calm.",
    "People say it is because spinning wheels act like tops, and that helps a bit, but scientists built a bike whose spinning was cancelled out and it still rode by itself. The bigger secret is steering. The fork is tilted and the wheel touches the road behind the line of the handlebar, like the castor of a shopping trolley. Lean the frame and the front wheel swings into the lean. The bike then drives itself back under you. Stop, and this steering has no road to work with.",
    "Imagine the bike as somebody walking along a wall. Every tiny stumble to one side is answered with a step to that side. The steps of a bicycle are little curves: lean right, curve right, and the curve pushes you up again just as a bus that turns pushes you to the outside. You need forward speed to draw a curve at all. With no speed there are no curves, with no curves there are no steps, and over you go.",
    "My cousin asked me this, so I let her push a bike without a rider down the lane. It rolled on alone for about twenty metres, wiggling. Each wiggle was the handlebar turning towards the side where the bike was about to fall. When it got slow, the wiggles grew large and lazy, and then it dropped. So the answer we agreed on: a bike is always falling, and while it moves it always steers to where it falls, quickly enough to save itself.",
]
BICYCLE_REWORDED = "Try balancing a broom on your hand. You hold it up by shifting your hand under the way it tips. A moving bicycle does that same trick with its wheels: when it begins to lean left, the front wheel turns slightly to the left, the tyres roll back under the weight, and the lean has gone before you notice. Standing still, the wheels can not go anywhere, so nothing is there to catch the fall. This is why slow riding is wobbly and quick riding feels calm."

PARK = [
    "周二早上七点去的东湖边小公园，雾还没散。打太极的队伍占了半个广场，音乐声不大，挺舒服。湖边新铺了木栈道，踩上去有点弹，走一圈二十分钟。不方便的是厕所在最西头，带老人来要提前算好时间，另外停车位不到八点就满了。",
    "我们家楼下的口袋公园其实就一个篮球场大，但孩子喜欢沙坑。傍晚五点多去，沙子是湿的，正好能堆城堡。长椅只有三张，家长基本靠站。最大的问题是没有遮阴，上个月来过一次中午场，五分钟就撤退了。希望多种几棵大树。",
    "夜跑常去的滨河公园，九点以后人少。跑道是红色塑胶，靠河那一侧的灯坏了四盏，我数过，一直没修，跑到那段要减速。优点是有直饮水，还有测心率的小亭子。周末白天露营的多，草坪基本被帐篷占满，想安静的话别选周末。",
    "带爷爷去植物园旁边的老公园，他年轻时在那里谈恋爱。假山还在，茶室改成了便利店，爷爷在门口站了一会儿没进去。工作日上午人很少，轮椅能走的坡道修得不错，就是石板缝太宽，轮子会卡。我们两点去，四点走，看到了两只松鼠。",
]
PARK_MERGED_OWN = "先说一下我自己的情况：住在城北，平时很少出门，这次是陪同事去的。我们十点到，门口有卖风筝的，也有卖棉花糖的，小孩子围了一圈又一圈，我们排队买了两瓶水才进去。同事想找地方写生，转了半天，最后坐在一棵香樟下面。"
PARK_MERGED_END = (
    "回来的公交要等二十分钟，站牌下没有座位，这一点最让人头疼。总的来说还可以，下次想试试晚上去。"
)

MINUTES = [
    "Garden club, meeting of 3 March\n\nPresent: Ines, Tomas, Mrs Albright, Wei, and the new member Jo.\n\n1. The water butt behind the shed leaks. Tomas mends it before the 15th; he may spend up to 20 on sealant.\n2. Seed swap: Saturday the 21st, in the school hall. Ines asks the caretaker for the key. Wei prints the labels.\n3. Mrs Albright reminds everybody that the gate was left open twice. Agreed: the last to leave signs the sheet.\n4. Jo would like to try potatoes in sacks. Agreed, three sacks, beside the compost.\n\nNext meeting: 7 April.\n",
    "MINUTES - Garden club\n\nWe started ten minutes late because the hall was locked.\n\nDecisions\n- Leaking butt: repaired by Tomas by mid-March, budget 20.\n- Seed swap on the 21st. Key: Ines. Labels: Wei.\n- Gate: a sheet by the door, signed by whoever leaves last (Mrs Albright's proposal, all in favour).\n- Potato sacks for Jo, three of them, trial for one season.\n\nOpen: nobody knows who has the long hose.\n",
]
MINUTES_REVISED = (
    MINUTES[1] + "\nAdded after reading it through: the next meeting is on 7 April at seven.\n"
)

RING = [
    "清明前后去的森林公园，杜鹃刚开。上山有两条路，左边台阶陡，右边绕远但有溪水声。山顶小卖部只收现金，我身上没带，渴着下的山。",
    "Because the front wheel steers into every lean, the bicycle keeps driving its two wheels back beneath the rider, and the quicker it rolls the sooner each small fall is caught.",
    "今天推门就有豆香。咸的放榨菜末，甜的淋姜汁，老板娘说两样都要的人最会过日子。靠窗那张桌子能看到整条巷子收衣服，慢慢吃，不赶你。一碗豆花，半巷春天。",
]
COMMENTS = [
    "小店装修很温馨，下次带朋友一起来看看", "位置好找，老板说话也客气，已经收藏了", "看图片就很想去，等发工资就安排",
    "上周路过没进去，现在有点后悔了", "包装挺用心的，送人应该不错", "希望多出几个口味，我会常来的",
    "刷到好几次了，终于点进来留个言", "听同事提起过，口碑一直可以的", "价格写得清楚，这点我很喜欢",
    "支持一下新店，祝生意越来越好", "照片拍得好看，不知道实物怎么样", "离我家不远，周末过去打个卡",
    "第一次听说这家，名字起得有意思", "客服回得挺快，问什么答什么", "颜色比我想的好看一点", "给妈妈也转了一份链接",
    "这条街终于有点新东西了", "看评论都说不错，先关注着", "下个月过生日就订这家吧", "门口那棵树拍照一定好看",
]  # fmt: skip
